"""Published weights: found where torchvision and timm cache them, or downloaded there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import cast
from urllib.parse import urlparse

import torch

from edgecnn.artifact import file_sha256
from edgecnn.cards import ModelCard, PretrainedWeights
from edgecnn.errors import DependencyMissingError, WeightsError

__all__ = ["PretrainedFile", "fetch_pretrained"]

Announce = Callable[[str], None]

#: The names that timm looks for in a hub repository, in its order.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class PretrainedFile:
    """A file of published weights on this machine.

    Attributes:
        id: the publisher's name of these weights.
        path: where the file lies.
        sha256: of its content.
    """

    id: str
    path: Path
    sha256: str


def fetch_pretrained(card: ModelCard, announce: Announce) -> PretrainedFile:
    """The file of the card's published weights, from the cache or downloaded into it.

    Args:
        card: of the network.
        announce: told what is downloaded from where, before it is.

    Raises:
        WeightsError: nobody published weights for this network, the download failed (the message says which
            file was wanted and where to put it), or the cached file is not the published one.
        DependencyMissingError: the library that knows the weights is not installed.
    """
    published = card.pretrained
    fetch = _FETCHERS.get(card.source)
    if published is None or fetch is None:
        raise WeightsError(
            f"There are no published weights for {card.name}.",
            "Train it ('edgecnn train'), pass a file with --weights PATH, or build it untrained with "
            "--weights random --seed N.",
        )
    path = fetch(card, published, announce)
    return PretrainedFile(published.id, path, file_sha256(path))


def _from_torchvision(card: ModelCard, published: PretrainedWeights, announce: Announce) -> Path:
    try:
        from torchvision import __version__
        from torchvision.models import get_model_weights
    except ModuleNotFoundError as error:
        raise DependencyMissingError("torchvision", f"The network {card.name}", "export") from error
    known = {member.name: member.url for member in get_model_weights(card.builder)}
    if published.id not in known:
        raise WeightsError(
            f"torchvision {__version__} has no weights {published.id!r} for {card.name}.",
            f"It has {', '.join(known) or 'none'}. Install a newer torchvision.",
        )
    return _from_url(card, str(known[published.id]), announce)


def _from_timm(card: ModelCard, published: PretrainedWeights, announce: Announce) -> Path:
    try:
        from timm import __version__
        from timm.models import get_pretrained_cfg
    except ModuleNotFoundError as error:
        raise DependencyMissingError("timm", f"The network {card.name}", "timm") from error
    source = get_pretrained_cfg(published.id)
    if source is not None and source.hf_hub_id:
        names = (source.hf_hub_filename,) if source.hf_hub_filename else _HUB_FILES
        return _from_hub(card, source.hf_hub_id, names, announce)
    if source is not None and source.url:
        return _from_url(card, str(source.url), announce)
    raise WeightsError(
        f"timm {__version__} has no weights {published.id!r} for {card.name}.", "Install a newer timm."
    )


_FETCHERS = {"torchvision": _from_torchvision, "timm": _from_timm}


def _from_url(card: ModelCard, url: str, announce: Announce) -> Path:
    """The file that torch.hub caches for ``url``; its name ends in the first digits of its SHA-256."""
    name = Path(urlparse(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    digits = torch.hub.HASH_REGEX.search(name)
    prefix = digits[1] if digits else ""
    if not path.is_file():
        announce(f"Downloading {url} to {path}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), prefix or None, progress=sys.stderr.isatty())
        except (OSError, RuntimeError, HTTPException) as error:
            raise _unavailable(card, name, f"from {url}", f"put it at {path}", error) from error
    if not file_sha256(path).startswith(prefix):
        raise WeightsError(
            f"{path} is not the published file: its SHA-256 does not begin with {prefix}.",
            "Remove it and run again; or pass a file of your own with --weights PATH.",
        )
    return path


def _from_hub(card: ModelCard, hub_id: str, names: tuple[str, ...], announce: Announce) -> Path:
    """The first of ``names`` that the Hugging Face hub's repository, or its cache here, has."""
    try:
        from huggingface_hub import constants, errors, hf_hub_download, try_to_load_from_cache
    except ModuleNotFoundError as error:
        raise DependencyMissingError("huggingface_hub", f"The weights of {card.name}", "timm") from error
    repository, _, tag = hub_id.partition("@")
    revision = tag or None
    for name in names:
        cached = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    # The base of the hub's own error is that of all errors of the HTTP library it is built on.
    http_error = cast(type[Exception], errors.HfHubHTTPError.__bases__[0])
    announce(f"Downloading {names[0]} of {repository} from the Hugging Face hub to {constants.HF_HUB_CACHE}")
    try:
        try:
            return Path(hf_hub_download(repository, names[0], revision=revision))
        except errors.LocalEntryNotFoundError:
            raise
        except errors.EntryNotFoundError:
            return Path(hf_hub_download(repository, names[-1], revision=revision))
    except (OSError, RuntimeError, ValueError, http_error) as error:
        place = (
            f"copy the folder models--{repository.replace('/', '--')} that 'hf download {repository}' made "
            f"into {constants.HF_HUB_CACHE}"
        )
        raise _unavailable(card, names[0], f"of {repository}", place, error) from error


def _unavailable(card: ModelCard, name: str, origin: str, place: str, error: Exception) -> WeightsError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return WeightsError(
        f"The pretrained weights of {card.name} cannot be downloaded: {reason}.\nWanted: {name} {origin}.",
        f"Without network here: on a machine that has it, download that file and {place}; or pass the file "
        "with --weights PATH. An untrained network needs no file: --weights random --seed N.",
    )

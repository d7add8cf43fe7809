"""Exports of networks that a command was given by name, kept for the next time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import msgspec

import edgecnn
from edgecnn.artifact import Artifact, file_sha256, open_artifact
from edgecnn.cache import cache_folder
from edgecnn.cards import ModelCard
from edgecnn.errors import ArtifactError, DependencyMissingError, WeightsError
from edgecnn.export.settings import ExportSettings

__all__ = ["cached_export"]

#: Whose versions decide what an export yields.
_LIBRARIES = ("torch", "torchvision", "timm", "onnx", "onnxscript")

Announce = Callable[[str], None]


def cached_export(card: ModelCard, weights: str, seed: int, announce: Announce) -> Artifact:
    """The network of ``card`` with ``weights``, exported with the default settings.

    Kept in the cache by the card, the weights and the versions of the libraries that make it; nothing of
    PyTorch is imported when it is there.

    Args:
        card: of the network.
        weights: "pretrained", "random" or the path of a file.
        seed: of random weights.
        announce: told what happens, a line at a time.

    Raises:
        WeightsError: the weights cannot be had or do not fit.
        DependencyMissingError: PyTorch is not installed.
        ExportError: the export failed.
        ArtifactError: the cache cannot be written.
    """
    if weights not in ("pretrained", "random"):
        weights = _absolute(weights)
    path = cache_folder("artifacts") / f"{card.name}-{_key(card, weights, seed)}.onnx"
    if path.is_file():
        try:
            return open_artifact(path)
        except ArtifactError as error:
            announce(f"Exporting again, since the cache is damaged: {error.problem}")
    return _export(card, weights, seed, path, announce)


def _absolute(weights: str) -> str:
    """The path as the artifact's spec keeps it, so that it is found from other folders, too."""
    path = Path(weights).resolve()
    if not path.is_file():
        raise WeightsError(f"{weights}: there is no such file of weights.", "Check --weights.")
    return str(path)


def _key(card: ModelCard, weights: str, seed: int) -> str:
    """Sixteen hexadecimal digits of all that decides what the export is."""
    identity = {"pretrained": "", "random": str(seed)}.get(weights)
    if identity is None:
        identity = file_sha256(Path(weights))
    versions = {"edgecnn": edgecnn.__version__} | {name: _version(name) for name in _LIBRARIES}
    parts = (card, weights, identity, ExportSettings(), versions)
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _export(card: ModelCard, weights: str, seed: int, path: Path, announce: Announce) -> Artifact:
    if find_spec("torch") is None:
        raise DependencyMissingError("torch", f"Exporting the network {card.name}", "export")
    from edgecnn.export.network import export_network
    from edgecnn.weights import load_network

    network = load_network(card, weights, seed=seed, announce=announce)
    return export_network(network, ExportSettings(), path, observe=announce)

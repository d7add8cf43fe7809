"""The argument MODEL of the commands that run models: a file, or the name of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.cards import card_names, find_card
from edgecnn.commands.export_cache import cached_export
from edgecnn.errors import SpecMissingError, UsageError

__all__ = ["ModelOptions", "model_options", "resolve_model", "resolve_models"]

P = ParamSpec("P")
R = TypeVar("R")

_WEIGHT_ENDINGS = (".pth", ".pt", ".th", ".safetensors", ".bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """What the user says of the models besides their names.

    Attributes:
        spec: for files that carry none: a network's name, or a JSON file.
        weights: for networks: "pretrained", "random" or a path.
        seed: of random weights.
    """

    spec: str | None = None
    weights: str | None = None
    seed: int = 0


def model_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add --spec, --weights and --seed to a command, and pass them to it as ``model_options``."""

    @click.option(
        "--spec",
        metavar="NET|FILE",
        help="For model files made elsewhere: a network whose input they take, or a JSON file.",
    )
    @click.option(
        "--weights",
        metavar="pretrained|random|PATH",
        help="For networks given by name, which are then exported into a cache.",
    )
    @click.option("--seed", type=int, default=0, show_default=True, help="Of random weights.")
    @wraps(function)
    def command(
        *args: Any,  # noqa: ANN401
        spec: str | None,
        weights: str | None,
        seed: int,
        **options: Any,  # noqa: ANN401
    ) -> R:
        options["model_options"] = ModelOptions(spec=spec, weights=weights, seed=seed)
        return function(*args, **options)

    return command  # type: ignore[return-value]


def resolve_models(
    texts: Sequence[str], options: ModelOptions, announce: Callable[[str], None] = lambda _: None
) -> list[Artifact]:
    """The artifacts that ``texts`` mean, each as :func:`resolve_model` says; what is named twice is one.

    Raises:
        UsageError: an option is given that none of the models can use; or as for one model.
        EdgecnnError: as for one model.
    """
    files = [Path(text).is_file() for text in texts]
    if options.weights is not None and all(files):
        raise UsageError(
            "--weights is for networks given by name, and every model given is a file.",
            "A model file holds its weights: leave the option out, or give a network's name.",
        )
    if options.spec is not None and not any(files):
        raise UsageError(
            "--spec is for model files made elsewhere, and no model given is a file.",
            "A network knows its preprocessing and classes: leave the option out.",
        )
    resolved = {text: resolve_model(text, options, announce) for text in dict.fromkeys(texts)}
    return [resolved[text] for text in texts]


def resolve_model(
    text: str, options: ModelOptions, announce: Callable[[str], None] = lambda _: None
) -> Artifact:
    """The artifact that MODEL ``text`` means: a model file, or a network, exported when that is new.

    A file comes before a network of the same name. A network is exported with the default settings, and kept
    in the cache by its card, its weights and the versions of the libraries that made it.

    Args:
        text: what the user typed.
        options: what the user said besides.
        announce: told about an export, a line at a time.

    Raises:
        UsageError: neither a file nor a network, weights instead of a model, or no weights for a network.
        ArtifactError: the file cannot be used.
        EdgecnnError: as the export raises.
    """
    path = Path(text)
    if path.is_file():
        return _opened(path, options, announce)
    if text in card_names():
        return _exported(text, options, announce)
    raise UsageError(
        f"MODEL {text!r} is neither a file{' (it is a folder)' if path.is_dir() else ''} nor a network.",
        _nearest(path),
    )


def _opened(path: Path, options: ModelOptions, announce: Callable[[str], None]) -> Artifact:
    if path.suffix.lower() in _WEIGHT_ENDINGS:
        raise UsageError(
            f"{path} holds weights, not a model.",
            f"Give the network's name as MODEL and --weights {path}, or export it first: "
            f"edgecnn export NET --weights {path}",
        )
    try:
        artifact = open_artifact(path)
    except SpecMissingError:
        if options.spec is None:
            raise
        from edgecnn.foreign import adopt

        return adopt(path, options.spec)
    if options.spec is not None:
        announce(f"{path} carries its own spec, which counts; --spec is for files without one.")
    return artifact


def _nearest(path: Path) -> str:
    """What the user may have meant."""
    files = [file.name for file in path.parent.glob("*.onnx")] if path.parent.is_dir() else []
    near = [str(path.parent / name) for name in get_close_matches(path.name, files, n=3, cutoff=0.5)]
    near += get_close_matches(path.name.lower(), card_names(), n=3, cutoff=0.5)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{guess}Give a model file, or a network that 'edgecnn list' shows."


def _exported(name: str, options: ModelOptions, announce: Callable[[str], None]) -> Artifact:
    if options.weights is None:
        raise UsageError(
            f"{name} is a network, and there is no telling which weights it shall have.",
            "Pass --weights pretrained, --weights PATH or --weights random; or give a model file.",
        )
    return cached_export(find_card(name), options.weights, options.seed, announce)

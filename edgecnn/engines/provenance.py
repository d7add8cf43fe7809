"""Which weights a PyTorch engine needs to rebuild the network of an artifact."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgecnn.artifact import Artifact, file_sha256
from edgecnn.cards import ModelCard, find_card
from edgecnn.errors import EngineUnavailableError, UnknownNameError
from edgecnn.spec import ModelSpec

__all__ = ["Origin", "find_origin"]

_USE_ORT = "The artifact itself runs with --engine ort."


@dataclass(frozen=True, slots=True)
class Origin:
    """What an artifact was exported from.

    Attributes:
        card: of the network.
        weights: "pretrained", "random", or the path of a file whose hash is the one in the spec.
        seed: of random weights; 0 for others.
    """

    card: ModelCard
    weights: str
    seed: int = 0


def find_origin(artifact: Artifact) -> Origin:
    """Find the network and the weights that ``artifact`` was exported from.

    A file of weights is looked for at the path that the spec records, then beside the artifact, and
    accepted only with the hash that the spec records.

    Raises:
        EngineUnavailableError: the artifact is not an unchanged export of a known network, or its weights
            are not to be found.
    """
    spec = artifact.spec
    _require_unchanged_export(spec)
    card = _card(spec)
    if spec.weights.kind == "pretrained":
        return Origin(card, "pretrained")
    if spec.weights.kind == "random":
        return Origin(card, "random", _seed(spec))
    return Origin(card, str(_weights_file(artifact)))


def _require_unchanged_export(spec: ModelSpec) -> None:
    """PyTorch would run the original in float32, whatever was done to the graph since."""
    obstacles = {
        "was not exported by edgecnn, so that its network and weights are unknown": (
            spec.weights.kind == "unknown"
        ),
        f"runs in {spec.precision}, and its origin in PyTorch runs in fp32": spec.precision != "fp32",
        "answers probabilities, and its origin in PyTorch logits": spec.scores != "logits",
    }
    for obstacle, present in obstacles.items():
        if present:
            raise EngineUnavailableError(f"The artifact of {spec.network!r} {obstacle}.", _USE_ORT)


def _card(spec: ModelSpec) -> ModelCard:
    try:
        return find_card(spec.network)
    except UnknownNameError as error:
        raise EngineUnavailableError(
            f"The artifact was exported from {spec.network!r}, and this edgecnn knows no such network.",
            f"Use the edgecnn that exported it. {_USE_ORT}",
        ) from error


def _seed(spec: ModelSpec) -> int:
    match = re.fullmatch(r"seed=(\d+)", spec.weights.name)
    if match is None:
        raise EngineUnavailableError(
            f"The artifact of {spec.network!r} has random weights, and {spec.weights.name!r} names no seed.",
            _USE_ORT,
        )
    return int(match[1])


def _weights_file(artifact: Artifact) -> Path:
    recorded = artifact.spec.weights
    places = (Path(recorded.name), artifact.path.parent / Path(recorded.name).name)
    hashes = {place: file_sha256(place) for place in places if place.is_file()}
    for place, found in hashes.items():
        if found == recorded.sha256:
            return place.absolute()  # so that no file's name reads as "random" or "pretrained"
    raise EngineUnavailableError(
        f"{_what_is_wrong(places, hashes)}; the export's file had the SHA-256 {recorded.sha256}.",
        f"Put that file there again, or export again from the weights that you have. {_USE_ORT}",
    )


def _what_is_wrong(places: tuple[Path, ...], hashes: dict[Path, str]) -> str:
    if not hashes:
        return f"The weights file is gone: neither {' nor '.join(map(str, places))} is there"
    found = ", ".join(f"{place} has the SHA-256 {digest}" for place, digest in hashes.items())
    return f"The weights file is not the one of the export: {found}"

"""Ranges chosen by what they do to the model's scores, not to one activation alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.quantize.fidelity import noise
from edgecnn.quantize.histogram import Histogram
from edgecnn.quantize.ranges import METHODS, Method, Range, choose_range
from edgecnn.quantize.sessions import Images
from edgecnn.quantize.simulation import Simulation

__all__ = ["Sensitivity", "best_method", "refine_ranges", "sensitivities"]

#: What a range is tried to be scaled by.
_FACTORS = (0.7, 0.85, 1.18, 1.4)

#: A change must lower the noise by so much to be kept, so that chance on a few images is not.
_WORTHWHILE = 0.995


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How much noise rounding one activation alone puts into the scores.

    Attributes:
        activation: its name.
        noise: relative power, above that of the rounded weights alone.
    """

    activation: str
    noise: float


def best_method(
    simulation: Simulation,
    histograms: Mapping[str, Histogram],
    images: Images,
    reference: NDArray[np.float32],
) -> tuple[Method, dict[str, Range]]:
    """The method of which all ranges together disturb the scores least, and its ranges."""
    found: dict[Method, tuple[float, dict[str, Range]]] = {}
    for method in METHODS:
        ranges = {name: choose_range(histogram, method) for name, histogram in histograms.items()}
        found[method] = noise(reference, simulation.scores(images, ranges)), ranges
    method = min(found, key=lambda name: found[name][0])
    return method, found[method][1]


def sensitivities(
    simulation: Simulation, ranges: Mapping[str, Range], images: Images, reference: NDArray[np.float32]
) -> list[Sensitivity]:
    """Of every activation, the most sensitive first."""
    weights_alone = noise(reference, simulation.scores(images, ranges, only=()))
    alone = (
        Sensitivity(name, noise(reference, simulation.scores(images, ranges, only=(name,))) - weights_alone)
        for name in simulation.activations
    )
    return sorted(alone, key=lambda item: -item.noise)


def refine_ranges(
    simulation: Simulation,
    ranges: Mapping[str, Range],
    histograms: Mapping[str, Histogram],
    order: list[Sensitivity],
    images: Images,
    reference: NDArray[np.float32],
) -> tuple[dict[str, Range], int]:
    """Try other ranges for the activations of ``order``, one after the other, and keep what helps.

    Returns:
        The ranges, and how many were changed.
    """
    current = dict(ranges)
    lowest = noise(reference, simulation.scores(images, current))
    changed = 0
    for item in order:
        before = current[item.activation]
        for candidate in _candidates(histograms[item.activation], before):
            trial = noise(reference, simulation.scores(images, {**current, item.activation: candidate}))
            if trial < lowest * _WORTHWHILE:
                lowest, current[item.activation] = trial, candidate
        changed += current[item.activation] != before
    return current, changed


def _candidates(histogram: Histogram, current: Range) -> Iterator[Range]:
    """Those of the other methods, and the current one scaled, within what was seen."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    proposals = [choose_range(histogram, method) for method in ("minmax", "mse", "percentile")]
    proposals += [(current[0] * factor, current[1] * factor) for factor in _FACTORS]
    cut = [(max(low, ends[0]), min(high, ends[1])) for ends in proposals]
    return (ends for ends in dict.fromkeys(cut) if ends != current)

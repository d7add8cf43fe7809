"""How near a quantised model's scores are to the float model's, on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fidelity", "expected_agreement", "fidelity", "margins_of", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Against the float model.

    Attributes:
        noise: see :func:`noise`.
        agreement: percent of images expected to keep their first choice; see :func:`expected_agreement`.
        images: how many it was estimated from.
    """

    noise: float
    agreement: float
    images: int

    @property
    def sqnr_db(self) -> float:
        """Signal-to-quantisation-noise ratio of an average image in decibel, at most 120."""
        return -10 * float(np.log10(max(self.noise, 1e-12)))


def fidelity(
    reference: NDArray[np.float32],
    scores: NDArray[np.float32],
    margins: NDArray[np.float64] | None = None,
) -> Fidelity:
    """Compare two arrays (N, classes) of scores; ``margins`` as in :func:`expected_agreement`.

    Raises:
        ValueError: the shapes differ, or there is no image.
    """
    if not len(reference):
        raise ValueError("no images")
    return Fidelity(
        noise=noise(reference, scores),
        agreement=expected_agreement(reference, scores, margins),
        images=len(reference),
    )


def expected_agreement(
    reference: NDArray[Any], scores: NDArray[Any], margins: NDArray[np.float64] | None = None
) -> float:
    """Percent of images like these that would keep their first choice.

    Counting those that do wastes most of what few images tell: only the handful with a narrow margin can
    change. So every margin (first choice over second) meets every error of a margin, and the mean is taken
    over all pairs, a two-sample U-statistic. The errors are those of the half of the images with the narrower
    margins: confident images have larger ones, which undo nothing.

    Args:
        reference: (N, classes), of the float model.
        scores: (N, classes).
        margins: of the float model on more images; of ``reference`` alone if not given.
    """
    if reference.shape[1] == 1:
        return 100.0
    before = margins_of(reference)
    rows, first = np.arange(len(reference)), reference.argmax(axis=1)
    errors = before - _margins(np.where(np.isfinite(scores), scores, -np.inf), rows, first)
    errors = np.where(np.isnan(errors), np.inf, errors)
    errors = errors[np.argsort(before, kind="stable")[: (len(errors) + 1) // 2]]
    ordered = np.sort(before if margins is None else margins)
    undone = np.searchsorted(ordered, errors, side="left")  # of each error: how many margins are smaller
    return 100 * (1 - float(undone.mean()) / len(ordered))


def margins_of(scores: NDArray[Any]) -> NDArray[np.float64]:
    """(N,): of each image's scores (N, classes), the highest over the second; infinite for one class."""
    return _margins(scores, np.arange(len(scores)), scores.argmax(axis=1))


def noise(reference: NDArray[Any], scores: NDArray[Any]) -> float:
    """Power of the difference over the power of ``reference``, the mean over images; 0 is equal.

    Each image's mean score is taken out first, since no choice depends on it. The ratio is taken image by
    image, and is at most 1, so that a few images with large scores do not speak for all. Every class of
    every image has its say: what few images can tell apart best.

    Args:
        reference: (N, classes), of the float model.
        scores: (N, classes).

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != scores.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {scores.shape}")
    finite = np.isfinite(scores).all(axis=1, keepdims=True)
    signal = _centred(reference)
    error = signal - _centred(np.where(finite, scores, 0))  # all scores equal: a noise of 1
    powers = np.maximum((signal**2).sum(axis=1), 1e-30)
    return float(np.minimum((error**2).sum(axis=1) / powers, 1.0).mean())


def _margins(scores: NDArray[Any], rows: NDArray[Any], first: NDArray[Any]) -> NDArray[np.float64]:
    """Of each image: its score at ``first`` over the highest of its other scores."""
    wide = scores.astype(np.float64)
    chosen = wide[rows, first]
    wide[rows, first] = -np.inf
    with np.errstate(invalid="ignore"):  # minus infinity of a score that is not finite
        margins: NDArray[np.float64] = chosen - wide.max(axis=1)
    return margins


def _centred(scores: NDArray[Any]) -> NDArray[np.float64]:
    wide = scores.astype(np.float64)
    centred: NDArray[np.float64] = wide - wide.mean(axis=1, keepdims=True)
    return centred

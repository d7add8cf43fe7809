"""How near a quantised model's scores are to the float model's, on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fidelity", "fidelity", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Against the float model.

    Attributes:
        noise: see :func:`noise`.
        agreement: percent of images with the same first choice.
        images: how many.
    """

    noise: float
    agreement: float
    images: int

    @property
    def sqnr_db(self) -> float:
        """Signal-to-quantisation-noise ratio of an average image in decibel, at most 120."""
        return -10 * float(np.log10(max(self.noise, 1e-12)))


def fidelity(reference: NDArray[np.float32], scores: NDArray[np.float32]) -> Fidelity:
    """Compare two arrays (N, classes) of scores.

    Raises:
        ValueError: the shapes differ, or there is no image.
    """
    if not len(reference):
        raise ValueError("no images")
    same = reference.argmax(axis=1) == scores.argmax(axis=1)
    return Fidelity(noise=noise(reference, scores), agreement=100 * float(same.mean()), images=len(same))


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


def _centred(scores: NDArray[Any]) -> NDArray[np.float64]:
    wide = scores.astype(np.float64)
    centred: NDArray[np.float64] = wide - wide.mean(axis=1, keepdims=True)
    return centred

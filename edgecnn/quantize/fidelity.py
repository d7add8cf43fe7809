"""How near a quantised model's scores are to the float model's, on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.statistics import powers

__all__ = ["Fidelity", "fidelity", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Against the float model.

    Attributes:
        noise: power of the difference over the power of the float model's scores, both without each
            image's mean score, which no choice depends on. 0 is equal; -10 log10 of it is the SQNR.
        agreement: percent of images with the same first choice.
        images: how many.
    """

    noise: float
    agreement: float
    images: int

    @property
    def sqnr_db(self) -> float:
        """Signal-to-quantisation-noise ratio in decibel, at most 120."""
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
    """Relative power of the difference; see :class:`Fidelity`."""
    signal, error = powers(_centred(reference), _centred(scores))
    return error / max(signal, 1e-30)


def _centred(scores: NDArray[Any]) -> NDArray[np.float64]:
    wide = scores.astype(np.float64)
    centred: NDArray[np.float64] = wide - wide.mean(axis=1, keepdims=True)
    return centred

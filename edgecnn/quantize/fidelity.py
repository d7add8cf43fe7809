"""How near a quantised model's scores are to the float model's, on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.statistics import sqnr_db

__all__ = ["Fidelity", "divergence", "fidelity"]

#: Standard deviation that scores are scaled to before the softmax: that of common ImageNet networks' logits.
#: Larger ones (SqueezeNet: 53) would leave one class with all the probability and nothing to compare.
_SPREAD = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Against the float model.

    Attributes:
        divergence: see :func:`divergence`; 0 is equal.
        sqnr_db: signal-to-quantisation-noise ratio of the scores, without each image's mean score, in
            decibel; at most 120, minus infinity where a score is not finite.
        agreement: percent of images with the same first choice.
        images: how many.
    """

    divergence: float
    sqnr_db: float
    agreement: float
    images: int


def fidelity(reference: NDArray[np.float32], scores: NDArray[np.float32]) -> Fidelity:
    """Compare two arrays (N, classes) of scores.

    Raises:
        ValueError: the shapes differ, or there is no image.
    """
    if not len(reference):
        raise ValueError("no images")
    same = reference.argmax(axis=1) == scores.argmax(axis=1)
    finite = np.isfinite(scores).all()
    sqnr = sqnr_db(_centred(reference), _centred(scores)) if finite else -math.inf
    return Fidelity(
        divergence=divergence(reference, scores),
        sqnr_db=120.0 if sqnr is None else min(sqnr, 120.0),
        agreement=100 * float(same.mean()),
        images=len(same),
    )


def divergence(reference: NDArray[Any], scores: NDArray[Any]) -> float:
    """Kullback-Leibler divergence of the softmax of ``scores`` from that of ``reference``, mean over images.

    Unlike a distance of the scores, it counts what could change a choice: the classes that the float model
    holds probable, and close calls more than clear ones. Both are scaled alike first, so that the scores of
    ``reference`` have a standard deviation of 4.

    Args:
        reference: (N, classes), of the float model.
        scores: (N, classes).

    Returns:
        In nats, at least 0; infinite where a score is not finite.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != scores.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {scores.shape}")
    if not np.isfinite(scores).all():
        return math.inf
    scale = _SPREAD / max(float(np.std(_centred(reference))), 1e-12)
    before, after = (_log_softmax(scale * _centred(each)) for each in (reference, scores))
    return max(0.0, float((np.exp(before) * (before - after)).sum(axis=1).mean()))


def _log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = scores - scores.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _centred(scores: NDArray[Any]) -> NDArray[np.float64]:
    wide = scores.astype(np.float64)
    centred: NDArray[np.float64] = wide - wide.mean(axis=1, keepdims=True)
    return centred

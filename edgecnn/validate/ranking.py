"""Classes by score: their order, and how probable the model holds them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecnn.engines.base import Scores

__all__ = ["count_tied", "first_choices", "probabilities", "top_choices"]


def first_choices(scores: Scores, count: int) -> NDArray[np.int64]:
    """The ``count`` classes of the highest scores, best first.

    Of equal scores the lower class index comes first. Ties are common in int8 models, and libraries break
    them differently (torch.topk by no rule at all), so that this one is used for every engine.

    Args:
        scores: (N, classes), without NaN.
        count: cut to the number of classes.

    Returns:
        (N, min(count, classes)) int64.
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :count].astype(np.int64, copy=False)


def count_tied(scores: Scores) -> int:
    """How many images have their highest score in several classes, so that a rule decides between them."""
    highest = scores == scores.max(axis=1, keepdims=True)
    return int((highest.sum(axis=1) > 1).sum())


def probabilities(scores: Scores, kind: Literal["logits", "probabilities"]) -> NDArray[np.float64]:
    """The softmax of logits, in float64; probabilities as they are.

    Args:
        scores: (N, classes).
        kind: what they hold.

    Returns:
        (N, classes) float64.
    """
    wide = scores.astype(np.float64)
    if kind == "probabilities":
        return wide
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    normalised: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return normalised


def top_choices(
    scores: Scores, kind: Literal["logits", "probabilities"], count: int
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The most probable classes of each image, as :func:`first_choices` and :func:`probabilities` have them.

    A server asks this of every image: only the few that are wanted are sorted, and made probabilities of.

    Args:
        scores: (N, classes), without NaN.
        kind: what they hold.
        count: cut to the number of classes.

    Returns:
        For each image (count,) int64 class indices, best first, and (count,) float64 probabilities.
    """
    return [_top_of(row, kind, min(count, len(row))) for row in scores]


def _top_of(
    row: NDArray[np.float32], kind: Literal["logits", "probabilities"], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    ordered = row.copy()
    ordered.partition(len(row) - count)
    near = (row >= ordered[-count]).nonzero()[0]  # more than asked for where some are equal to the last
    chosen = near[(-row[near]).argsort(kind="stable")[:count]]
    if kind == "probabilities":
        return chosen, row[chosen].astype(np.float64)
    powers = np.exp(np.subtract(row, row[chosen[0]], dtype=np.float64))
    return chosen, powers[chosen] / np.add.reduce(powers)

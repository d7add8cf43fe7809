"""Classes by score: their order, and how probable the model holds them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecnn.engines.base import Scores

__all__ = ["count_tied", "first_choices", "probabilities"]


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

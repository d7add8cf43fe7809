"""When a quantised model is good enough, as far as images can tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.statistics import paired_drop_interval

__all__ = ["MIN_AGREEMENT", "Drop", "Goal", "drop_between"]

#: Percent of images on which the int8 model shall choose as the float model does.
MIN_AGREEMENT = 97.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """How much top-1 went down, image by image.

    Attributes:
        n: images.
        gained: images that only the quantised model has right.
        lost: images that only the float model has right.
    """

    n: int
    gained: int
    lost: int

    @property
    def points(self) -> float:
        """Percentage points; negative where top-1 went up."""
        return 100 * (self.lost - self.gained) / self.n

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of the points, paired."""
        low, high = paired_drop_interval(self.gained, self.lost, self.n)
        return 100 * low, 100 * high


def drop_between(
    reference: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64]
) -> Drop:
    """The drop from ``reference`` to ``scores``, both (N, classes), for labels (N,)."""
    before, after = reference.argmax(axis=1), scores.argmax(axis=1)
    return Drop(
        n=len(labels),
        gained=int(((after == labels) & (before != labels)).sum()),
        lost=int(((after != labels) & (before == labels)).sum()),
    )


@dataclass(frozen=True, slots=True)
class Goal:
    """What the search for a mixed precision stops at.

    Attributes:
        max_drop: percentage points of top-1.
    """

    max_drop: float

    def met(self, drop: Drop, agreement: float) -> bool:
        """Whether the drop's 95 % interval reaches down to the limit, and the agreement is high enough.

        A drop is the difference of two small counts, which few images cannot tell from zero; how many choices
        change they tell better.

        Args:
            drop: of top-1 on the images.
            agreement: percent of images expected to keep their choice.
        """
        return drop.ci95[0] <= self.max_drop and agreement >= MIN_AGREEMENT

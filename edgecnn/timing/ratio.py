"""How fast one variant is against another of the same run, and whether that can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecnn.timing.order_statistics import Interval, median_interval

__all__ = ["SAME", "RoundRatio", "Verdict", "compare_rounds"]

#: "distinct": the interval excludes 1. "same": it lies within :data:`SAME` of 1. "unclear": neither; the
#: machine was too noisy, or the run too short, to tell the two apart.
Verdict = Literal["distinct", "same", "unclear"]

#: Ratios that differ from 1 by less are no difference that anybody would act on.
SAME = 0.02


@dataclass(frozen=True, slots=True)
class RoundRatio:
    """Time of the baseline over that of the other, both from the same rounds.

    Attributes:
        ratio: median over the rounds; above 1 the other is faster.
        ci95: its 95 % interval.
        verdict: see :data:`Verdict`.
    """

    ratio: float
    ci95: Interval
    verdict: Verdict


def compare_rounds(baseline: NDArray[np.float64], other: NDArray[np.float64]) -> RoundRatio | None:
    """Compare two variants of one interleaved run.

    The interval is that of the median, from order statistics, widened where rounds depend on each other
    (:func:`edgecnn.timing.order_statistics.quantile_interval`): it assumes no distribution.

    Args:
        baseline: (rounds,) time per image, in any unit.
        other: likewise, of the same rounds.

    Returns:
        None for fewer rounds than an interval needs, and where they depend on each other over too long a
        stretch of the run.
    """
    ratios = baseline / other
    interval = median_interval(ratios)
    if interval is None:
        return None
    return RoundRatio(float(np.median(ratios)), interval, _verdict(interval))


def _verdict(interval: Interval) -> Verdict:
    low, high = interval
    if low > 1 or high < 1:
        return "distinct"
    return "same" if low >= 1 - SAME and high <= 1 + SAME else "unclear"

"""Percentiles of latency with intervals that hold for any distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.timing.order_statistics import Interval, nearest_rank, quantile_interval, quantile_ranks

__all__ = ["SHARES", "LatencySummary", "Percentile", "enough_samples", "summarise"]

#: The percentiles that are told, as shares.
SHARES = (0.50, 0.90, 0.95, 0.99, 0.999)

#: From this share on, a percentile is told only with its interval: a few samples of a run that is thousands
#: long would stand for it, and people take the tail's figure at its word.
_TAIL = 0.999


@dataclass(frozen=True, slots=True)
class Percentile:
    """One percentile.

    Attributes:
        value: in the unit of the samples; None where fewer than one sample would be expected above it, so
            that the highest sample would stand for it, and of p99.9 also where it has no interval.
        ci95: its 95 % interval; None where an end would lie beyond the samples, and where these depend on
            each other over too long a stretch of the run to tell.
    """

    value: float | None
    ci95: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """What is told of a series of latencies, in the unit of the samples.

    Attributes:
        count: of samples.
        median: the 50th percentile, which any sample gives.
        percentiles: by share, for each of :data:`SHARES`.
        jitter: mean absolute difference of a sample and the next; None for a single one.
        quantiles: at 0, 1, ... 100 %.
    """

    count: int
    median: float
    percentiles: dict[float, Percentile]
    jitter: float | None
    quantiles: tuple[float, ...]


def enough_samples(count: int, share: float) -> bool:
    """Whether ``count`` samples tell the ``share`` percentile, if they do not depend on each other.

    One is to be expected above it; above p99.9 the upper end of its interval, which takes 3,688.

    Args:
        count: at least 1.
        share: between 0 and 1, both excluded.
    """
    if share >= _TAIL:
        return None not in quantile_ranks(count, share)
    return round(count * (1 - share), 9) >= 1


def summarise(samples: NDArray[np.float64]) -> LatencySummary:
    """Percentiles, intervals and spread of ``samples``.

    Percentiles are by nearest rank. Their intervals are those of order statistics, with exact binomial ranks
    (:func:`edgecnn.timing.order_statistics.quantile_ranks`). Neighbouring latencies depend on each other, and
    an interval that takes them for independent is too narrow; here it is widened to that of as many samples
    as these are worth (:func:`edgecnn.timing.dependence.estimate_dependence`). Dependence over more than an
    eighth of the run gives no interval. Where it comes near that, one that is given covers somewhat less
    often than 95 % (some 90 %; of tails, which then seldom have one, less still), and moods of the machine
    that last longer than the run show in none: an interval speaks of this run, not of the next day's.

    Args:
        samples: (n,) in the order of time, n at least 1.

    Raises:
        ValueError: there is none.
    """
    count = len(samples)
    if not count:
        raise ValueError("no samples to summarise")
    ordered = np.sort(samples)
    ranks = [nearest_rank(count, percent / 100) - 1 for percent in range(101)]
    return LatencySummary(
        count=count,
        median=float(ordered[nearest_rank(count, 0.5) - 1]),
        percentiles={share: _percentile(samples, ordered, share) for share in SHARES},
        jitter=float(np.abs(np.diff(samples)).mean()) if count > 1 else None,
        quantiles=tuple(ordered[ranks].tolist()),
    )


def _percentile(samples: NDArray[np.float64], ordered: NDArray[np.float64], share: float) -> Percentile:
    count = len(ordered)
    if not enough_samples(count, share):
        return Percentile(None, None)
    ci95 = quantile_interval(samples, share)
    if ci95 is None and share >= _TAIL:
        return Percentile(None, None)
    return Percentile(float(ordered[nearest_rank(count, share) - 1]), ci95)

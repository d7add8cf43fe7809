"""Quantiles and their intervals from ordered samples alone, whatever the distribution."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgecnn.timing.dependence import estimate_dependence

__all__ = ["Interval", "median_interval", "nearest_rank", "quantile_interval", "quantile_ranks"]

Interval = tuple[float, float]

CONFIDENCE = 0.95


def nearest_rank(count: int, share: float) -> int:
    """The rank, from 1, of the ``share`` quantile among ``count`` ordered samples: the smallest sample that
    at least that share of all does not exceed. It is a value that occurred, as LoadGen's percentiles are.
    """
    # 0.9 * 10 is 9.000000000000002 for some shares: the rounding must not move the rank.
    return min(count, max(1, math.ceil(round(share * count, 9))))


@lru_cache(maxsize=1024)
def quantile_ranks(count: int, share: float, confidence: float = CONFIDENCE) -> tuple[int | None, int | None]:
    """Ranks, from 1, of the samples between which the true quantile lies with at least ``confidence``.

    Of n independent samples, the number below the true quantile is binomial (n, share), whatever the
    distribution (David and Nagaraja, Order Statistics, section 7.1). Each end is missed with at most half of
    what the confidence leaves; the ranks are exact, no normal approximation.

    Args:
        count: samples, at least 1.
        share: between 0 and 1, both excluded; 0.99 for the 99th percentile.
        confidence: likewise.

    Returns:
        Lower and upper rank; None for an end that would lie beyond the samples.
    """
    first, cumulative = _binomial(count, share)
    miss = (1 - confidence) / 2
    # The quantile is below sample l when fewer than l samples are below it: P(B <= l - 1).
    lower = first + int(np.searchsorted(cumulative, miss, side="right"))
    # It is above sample u when at least u samples are below it: P(B >= u) = 1 - P(B <= u - 1).
    upper = first + int(np.searchsorted(cumulative, 1 - miss, side="left")) + 1
    return (lower or None), (upper if upper <= count else None)


def _binomial(count: int, share: float) -> tuple[int, NDArray[np.float64]]:
    """P(B <= k) of a binomial (count, share), from the returned k on.

    Left out are numbers further than twelve standard deviations from the mean, whose probability is less than
    rounding: a run of ten minutes may have ten million samples.
    """
    mean, reach = count * share, 12 * math.sqrt(count * share * (1 - share)) + 12
    first, last = max(0, math.floor(mean - reach)), min(count, math.ceil(mean + reach))
    begin = (
        math.lgamma(count + 1)
        - math.lgamma(first + 1)
        - math.lgamma(count - first + 1)
        + first * math.log(share)
        + (count - first) * math.log1p(-share)
    )
    numbers = np.arange(first + 1, last + 1, dtype=np.float64)
    steps = np.log((count - numbers + 1) / numbers) + math.log(share / (1 - share))
    logs = begin + np.concatenate([[0.0], np.cumsum(steps)])
    cumulative: NDArray[np.float64] = np.cumsum(np.exp(logs))
    return first, cumulative


def quantile_interval(samples: NDArray[np.float64], share: float) -> Interval | None:
    """The 95 % interval of a quantile; None where it would reach beyond the samples, or cannot be told.

    Latencies in a row are not independent: a core that is taken away, or a clock that falls, hits neighbours.
    The interval is therefore that of as many independent samples as these are worth
    (:func:`edgecnn.timing.dependence.estimate_dependence`), stretched over these; there is none where they
    depend on each other over so long a stretch that this run cannot tell.

    Args:
        samples: (n,) in the order of time.
        share: between 0 and 1, both excluded.
    """
    count = len(samples)
    ordered = np.sort(samples)
    below = samples <= ordered[nearest_rank(count, share) - 1]
    found = estimate_dependence(below, samples)
    if found is None:
        return None
    worth = max(1, int(count / found.price))
    lower, upper = quantile_ranks(worth, share)
    if lower is None or upper is None:
        return None
    stretch = (count + 1) / (worth + 1)
    first, last = math.floor(lower * stretch), math.ceil(upper * stretch)
    return float(ordered[first - 1]), float(ordered[last - 1])


def median_interval(samples: NDArray[np.float64]) -> Interval | None:
    """The 95 % interval of the median; None for fewer than six samples, or where they are worth fewer."""
    return quantile_interval(samples, 0.5) if len(samples) else None

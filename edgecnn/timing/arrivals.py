"""When queries arrive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["poisson_arrivals"]


def poisson_arrivals(per_s: float, seconds: float, seed: int) -> NDArray[np.int64]:
    """The moments of a Poisson process of ``per_s`` arrivals a second, in nanoseconds from the start.

    The gaps are independent and exponential (MLPerf Inference rules, server scenario), so that arrivals come
    in clusters, as those of many users who know nothing of each other do.

    Args:
        per_s: mean rate, positive.
        seconds: arrivals from 0 to here, positive.
        seed: equal seeds give equal arrivals.

    Returns:
        (n,) increasing; empty when none falls into the time.
    """
    random = np.random.default_rng(seed)
    expected = per_s * seconds
    # Six standard deviations above the mean are enough but for one seed in a thousand million.
    count = int(expected + 6 * np.sqrt(expected) + 10)
    moments = np.cumsum(random.exponential(1e9 / per_s, count))
    while moments[-1] < seconds * 1e9:
        moments = np.append(moments, moments[-1] + np.cumsum(random.exponential(1e9 / per_s, count)))
    return moments[moments < seconds * 1e9].astype(np.int64)

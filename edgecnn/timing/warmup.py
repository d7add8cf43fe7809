"""When has latency settled? Found in the samples, not by a fixed count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.timing.clock import SYSTEM_CLOCK, Clock
from edgecnn.timing.order_statistics import median_interval

__all__ = ["WarmUp", "WarmUpLimits", "settled_from", "warm_up"]

#: Samples whose median counts as one, so that a single late one is no trend.
_GROUP = 5

#: Samples from which on groups are made; fewer, of slow calls, count one by one.
_GROUPED_FROM = 40

#: Samples that a judgement needs.
_LEAST = 12

#: Groups at the end that the rule may not cut down to: their variance would be that of chance.
_TAIL = 3

#: A remaining change of the median below this share is no warm-up.
_SAME = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpLimits:
    """How long a warm-up may take.

    Attributes:
        least_s: at least so long, so that what sets in late (clock, compilation in the background) shows.
        most_s: at most so long, unless a single call takes longer.
    """

    least_s: float = 0.3
    most_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """A warm-up that is done.

    Attributes:
        calls: that were made.
        seconds: that they took.
        settled: whether the latency had settled, rather than the time run out.
        first_ns: of the very first call.
        call_ns: median of a call in the second half.
    """

    calls: int
    seconds: float
    settled: bool
    first_ns: int
    call_ns: float


def settled_from(samples: NDArray[np.float64]) -> int | None:
    """The sample from which on latency has settled; None while it has not, or cannot be told.

    By the rule MSER-5 (White, Simulation 69, 1997): cut off as much of the start as makes the standard error
    of what remains smallest. It has no threshold to tune, and finds steps, slopes and decays alike. Instead
    of means of five samples, their medians: a single late call is not a trend. Where it would cut off half or
    more, the run is too short to know. It does not see what set in just now, so that the last two quarters
    must agree as well. A change of less than a percent is none.

    Args:
        samples: (n,) in the order of time, in any unit. Fewer than 12 tell nothing.
    """
    if len(samples) < _LEAST:
        return None
    size = _GROUP if len(samples) >= _GROUPED_FROM else 1
    groups = len(samples) // size
    medians = np.median(samples[: groups * size].reshape(groups, size), axis=1)
    half, quarter = len(samples) // 2, 3 * len(samples) // 4
    before, after = samples[half:quarter], samples[quarter:]
    if _within(float(np.median(before)), float(np.median(after)), _SAME):
        return min(_least_error(medians), groups // 2) * size
    cut = _least_error(medians)
    return cut * size if cut < groups // 2 and _overlap(before, after) else None


def _within(one: float, other: float, share: float) -> bool:
    return abs(one - other) <= share * min(one, other)


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether the 95 % intervals of both medians meet: chance may explain the difference."""
    intervals = median_interval(one), median_interval(other)
    if intervals[0] is None or intervals[1] is None:
        return False
    return intervals[0][0] <= intervals[1][1] and intervals[1][0] <= intervals[0][1]


def _least_error(values: NDArray[np.float64]) -> int:
    """How many values to cut off at the start, for the least standard error of the mean of the rest."""
    left = np.arange(len(values), 0, -1, dtype=np.float64)
    centred = values - values.mean()
    sums, squares = (np.cumsum(part[::-1])[::-1] for part in (centred, centred**2))
    errors = (squares - sums**2 / left) / left**2
    return int(np.argmin(errors[: len(values) - _TAIL]))


def warm_up(
    run: Callable[[], object], limits: WarmUpLimits | None = None, clock: Clock = SYSTEM_CLOCK
) -> WarmUp:
    """Call ``run`` until its latency has settled or the time is up."""
    limits = limits or WarmUpLimits()
    begin = clock.now()
    least, most = (begin + round(seconds * 1e9) for seconds in (limits.least_s, limits.most_s))
    samples: list[int] = []
    settled, judge_at = False, _LEAST
    while not settled:
        start = clock.now()
        run()
        now = clock.now()
        samples.append(now - start)
        if len(samples) >= judge_at and now >= least:
            settled = settled_from(np.array(samples, np.float64)) is not None
            judge_at = len(samples) * 5 // 4 + 1
        if now >= most:
            break
    return WarmUp(
        calls=len(samples),
        seconds=(clock.now() - begin) * 1e-9,
        settled=settled,
        first_ns=samples[0],
        call_ns=float(np.median(samples[len(samples) // 2 :])),
    )

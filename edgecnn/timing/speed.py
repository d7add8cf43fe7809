"""How fast one model is against another: both run in turns, so that the machine's moods hit both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecnn.timing.clock import SYSTEM_CLOCK, Clock
from edgecnn.timing.order_statistics import Interval, median_interval
from edgecnn.timing.ratio import SAME
from edgecnn.timing.rounds import CallSlice, RoundSettings, calls_for, interleave, timed_calls

__all__ = ["SpeedRatio", "SpeedVerdict", "compare_speed", "speed_verdict"]

#: What the interval of a ratio says; "not faster" is also what is faster by too little to matter.
SpeedVerdict = Literal["faster", "not faster", "unclear"]

#: Rounds of one comparison: fewer give no interval worth having, more add nothing to the median.
_ROUNDS = (9, 400)

#: A round runs each side until it took this long, so that the clock's and the loop's own time vanish.
_ROUND_SECONDS = 0.02

#: And at least so often: of fewer calls a single one that was interrupted would be the round's time.
_LEAST_CALLS = 3

#: What cannot be told in the time that it was given is measured for at most so many times as long.
_LONGEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRatio:
    """The outcome of one comparison.

    Attributes:
        reference_ms: median time of one run of the reference.
        ms: median time of one run of the other.
        ratio: median over rounds of reference / other; above 1, the other is faster.
        ci95: 95 % interval of that median, from order statistics; all that was seen where rounds depend on
            each other too much for one.
        spread: 10th and 90th percentile of the rounds' ratios.
    """

    reference_ms: float
    ms: float
    ratio: float
    ci95: Interval
    spread: Interval


def speed_verdict(ci95: Interval) -> SpeedVerdict:
    """What the interval of a ratio says of the other model; :data:`~edgecnn.timing.ratio.SAME` is no gain."""
    if ci95[1] <= 1 + SAME:
        return "not faster"
    return "faster" if ci95[0] > 1 else "unclear"


def compare_speed(
    reference: Callable[[], object],
    other: Callable[[], object],
    *,
    seconds: float,
    tell_from: float | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> SpeedRatio:
    """Run both in turn for about ``seconds``, after a few runs each to warm up.

    Args:
        reference: one run of the one.
        other: one run of the other.
        seconds: to spend; at least nine rounds are done.
        tell_from: a ratio that matters: while the interval holds it, measuring goes on, for up to three times
            ``seconds``. The interval is looked at three times then, and so excludes the truth somewhat more
            often than one time in twenty.
        clock: to time by.
    """
    slices = [_slice(run, clock) for run in (reference, other)]
    times = _times(slices, seconds, 0, clock)
    for again in range(1, _LONGEST):
        low, high = _interval(times[0] / times[1])
        if tell_from is None or not low <= tell_from <= high:
            break
        times = np.concatenate([times, _times(slices, seconds, again, clock)], axis=1)
    return _summary(times)


def _times(slices: list[CallSlice], seconds: float, seed: int, clock: Clock) -> NDArray[np.float64]:
    """(2, rounds) nanoseconds of one call: a round's is the median of its calls, which no one moves."""
    settings = RoundSettings(seconds=seconds, least=_ROUNDS[0], most=_ROUNDS[1], seed=seed)
    found = interleave(slices, settings, clock)
    return np.array([[np.median(calls) for calls in rounds] for rounds in found])


def _summary(times: NDArray[np.float64]) -> SpeedRatio:
    ratios = times[0] / times[1]
    low, high = np.percentile(ratios, (10, 90))
    return SpeedRatio(
        reference_ms=1e-6 * float(np.median(times[0])),
        ms=1e-6 * float(np.median(times[1])),
        ratio=float(np.median(ratios)),
        ci95=_interval(ratios),
        spread=(float(low), float(high)),
    )


def _interval(ratios: NDArray[np.float64]) -> Interval:
    return median_interval(ratios) or (float(ratios.min()), float(ratios.max()))


def _slice(run: Callable[[], object], clock: Clock) -> CallSlice:
    """Sized by the fastest of a few calls: by one that was interrupted, rounds would be too short."""
    run()
    call_ns = float(timed_calls(run, _LEAST_CALLS, clock.now).min())
    return CallSlice(run, max(_LEAST_CALLS, calls_for(call_ns, _ROUND_SECONDS)), clock=clock)

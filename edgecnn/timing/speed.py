"""How fast one model is against another: both run in turns, so that the machine's moods hit both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgecnn.timing.clock import SYSTEM_CLOCK, Clock
from edgecnn.timing.rounds import CallSlice, RoundSettings, calls_for, interleave, timed_calls

__all__ = ["SpeedRatio", "compare_speed"]

#: Rounds of one comparison: fewer say nothing of the spread, more add nothing to the median.
_ROUNDS = (25, 400)

#: A round runs each side until it took this long, so that the clock's and the loop's own time vanish.
_ROUND_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRatio:
    """The outcome of one comparison.

    Attributes:
        reference_ms: median time of one run of the reference.
        ms: median time of one run of the other.
        ratio: median over rounds of reference / other; above 1, the other is faster.
        spread: 10th and 90th percentile of that.
    """

    reference_ms: float
    ms: float
    ratio: float
    spread: tuple[float, float]


def compare_speed(
    reference: Callable[[], object],
    other: Callable[[], object],
    *,
    seconds: float,
    clock: Clock = SYSTEM_CLOCK,
) -> SpeedRatio:
    """Run both in turn for about ``seconds``, after one run each to warm up.

    Args:
        reference: one run of the one.
        other: one run of the other.
        seconds: to spend; at least 25 rounds are done.
        clock: to time by.
    """
    slices = [_slice(run, clock) for run in (reference, other)]
    settings = RoundSettings(seconds=seconds, least=_ROUNDS[0], most=_ROUNDS[1])
    found = interleave(slices, settings, clock)
    times = np.array([[calls.mean() for calls in rounds] for rounds in found])
    ratios = times[0] / times[1]
    low, high = np.percentile(ratios, (10, 90))
    return SpeedRatio(
        reference_ms=1e-6 * float(np.median(times[0])),
        ms=1e-6 * float(np.median(times[1])),
        ratio=float(np.median(ratios)),
        spread=(float(low), float(high)),
    )


def _slice(run: Callable[[], object], clock: Clock) -> CallSlice:
    run()
    (call_ns,) = timed_calls(run, 1, clock.now)
    return CallSlice(run, calls_for(float(call_ns), _ROUND_SECONDS), clock=clock)

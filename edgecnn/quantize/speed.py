"""How fast one model is against another: both run in alternation, so that the machine's moods hit both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

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
    reference: Callable[[], object], other: Callable[[], object], *, seconds: float
) -> SpeedRatio:
    """Run both in turn for about ``seconds``, after one run each to warm up.

    Args:
        reference: one run of the one.
        other: one run of the other.
        seconds: to spend; at least 25 rounds are done.
    """
    counts = [_runs_per_round(run) for run in (reference, other)]
    times: list[tuple[float, float]] = []
    end = perf_counter() + seconds
    while len(times) < _ROUNDS[0] or (perf_counter() < end and len(times) < _ROUNDS[1]):
        times.append((_time_of(reference, counts[0]), _time_of(other, counts[1])))
    samples = np.array(times)
    ratios = samples[:, 0] / samples[:, 1]
    medians = 1e3 * np.median(samples, axis=0)
    low, high = np.percentile(ratios, (10, 90))
    return SpeedRatio(
        reference_ms=float(medians[0]),
        ms=float(medians[1]),
        ratio=float(np.median(ratios)),
        spread=(float(low), float(high)),
    )


def _runs_per_round(run: Callable[[], object]) -> int:
    run()
    return max(1, round(_ROUND_SECONDS / max(_time_of(run, 1), 1e-6)))


def _time_of(run: Callable[[], object], count: int) -> float:
    """Seconds of one run, the mean of ``count`` in a row."""
    begin = perf_counter()
    for _ in range(count):
        run()
    return (perf_counter() - begin) / count

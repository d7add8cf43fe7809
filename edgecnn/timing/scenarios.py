"""The load of MLPerf Inference's scenarios (its inference rules, section 3), made here.

Single stream and multi stream are one caller with one query after the other: slices of
:class:`edgecnn.timing.rounds.CallSlice`, whose figures are the 90th and the 99th percentile. The other two
are here; several instances of a model work side by side, each in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecnn.timing.clock import SYSTEM_CLOCK, Clock
from edgecnn.timing.rounds import gaps

__all__ = [
    "FIGURES",
    "LEAST_QUERIES",
    "LEAST_SECONDS",
    "MULTI_STREAM_SAMPLES",
    "Offline",
    "ScenarioName",
    "Served",
    "long_enough",
    "offline_slice",
    "serve",
]

T = TypeVar("T")

ScenarioName = Literal["single", "multi", "offline", "server"]

#: Samples of one query of the multi-stream scenario.
MULTI_STREAM_SAMPLES = 8

#: What each scenario is judged by: a percentile of latency, or None for throughput.
FIGURES: dict[ScenarioName, float | None] = {"single": 0.9, "multi": 0.99, "offline": None, "server": 0.99}

#: What the rules ask for: seconds of any run, and queries (offline: images). From LoadGen 6.0's own
#: mlperf.conf and, where that leaves it to early stopping, the least count for which there is an estimate.
LEAST_SECONDS = 600.0
LEAST_QUERIES: dict[ScenarioName, int] = {"single": 64, "multi": 662, "offline": 24576, "server": 662}


def long_enough(scenario: ScenarioName, seconds: float, queries: int) -> bool:
    """Whether MLPerf's rules would accept a run of this length."""
    return seconds >= LEAST_SECONDS and queries >= LEAST_QUERIES[scenario]


@dataclass(frozen=True, slots=True)
class Offline:
    """A slice of the offline scenario.

    Attributes:
        calls_per_s: of all instances together, while all were busy.
        latencies_ns: of each call.
    """

    calls_per_s: float
    latencies_ns: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Served:
    """A run of the server scenario.

    Attributes:
        latencies_ns: from each query's scheduled arrival to its answer, in the order of arrival. Of a query
            without an answer it is the time until it was given up: a lower bound.
        unanswered: how many those are.
        seconds: until the last answer.
    """

    latencies_ns: NDArray[np.int64]
    unanswered: int
    seconds: float


def offline_slice(
    runs: Sequence[Callable[[], object]], seconds: float, clock: Clock = SYSTEM_CLOCK
) -> Offline:
    """Keep every instance busy for ``seconds``, and finish what is under way.

    MLPerf sends all samples at once and divides by the time until the last answer; over its ten minutes that
    is the rate of busy instances. In a slice of a fraction of a second the end, where some have run out of
    work, would weigh too much: here each instance's rate is taken over its own time, and they are added.

    Args:
        runs: a call of each instance.
        seconds: when to begin no more calls.
        clock: to time by.
    """
    end = clock.now() + round(seconds * 1e9)

    def work(run: Callable[[], object]) -> NDArray[np.int64]:
        now = clock.now
        stamps = [now()]
        while stamps[-1] < end or len(stamps) == 1:
            run()
            stamps.append(now())
        return gaps(stamps)

    series = _side_by_side(work, runs)
    rate = sum(len(calls) / max(int(calls.sum()), 1) for calls in series)
    return Offline(1e9 * rate, np.concatenate(series))


def serve(
    runs: Sequence[Callable[[], object]],
    arrivals_ns: NDArray[np.int64],
    give_up_s: float,
    clock: Clock = SYSTEM_CLOCK,
) -> Served:
    """Answer queries that arrive when they arrive, whether an instance is free or not.

    A query's latency counts from its scheduled arrival, never from when somebody got round to it: a stall
    delays all that arrive meanwhile, and all of them show it (no coordinated omission). Queries wait in one
    queue and are answered in their order by whichever instance is free.

    Args:
        runs: a call of each instance, which answers one query.
        arrivals_ns: (n,) increasing, from the start.
        give_up_s: when to leave what is still unanswered; a rate above the instances' own would let the queue
            grow without end.
        clock: to time by.
    """
    due = (arrivals_ns + clock.now()).tolist()
    give_up = clock.now() + round(give_up_s * 1e9)
    ends = [0] * len(due)
    turn = count()

    def work(run: Callable[[], object]) -> None:
        now = clock.now
        while (at := next(turn)) < len(due):
            clock.wait_until(due[at])
            if now() >= give_up:
                return
            run()
            ends[at] = now()

    _side_by_side(work, runs)
    finished = np.array(ends, np.int64)
    unanswered = finished == 0
    start = due[0] - int(arrivals_ns[0]) if due else give_up
    latencies = np.where(unanswered, clock.now(), finished) - np.array(due, np.int64)
    return Served(latencies, int(unanswered.sum()), (clock.now() - start) * 1e-9)


def _side_by_side(work: Callable[[Callable[[], object]], T], runs: Sequence[Callable[[], object]]) -> list[T]:
    """What ``work`` returns of each run; in this thread where there is only one.

    Raises:
        Exception: the first that a run raised.
    """
    if len(runs) == 1:
        return [work(runs[0])]
    with ThreadPoolExecutor(len(runs)) as pool:
        return list(pool.map(work, runs))

"""The load of each scenario in slices, and what the slices of a variant add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgecnn.bench.opened import OpenVariant
from edgecnn.bench.plan import BenchPlan
from edgecnn.reports.result import Interval
from edgecnn.timing.arrivals import poisson_arrivals
from edgecnn.timing.dependence import mean_interval
from edgecnn.timing.rounds import LEAST_ROUNDS, CallSlice, calls_for
from edgecnn.timing.scenarios import Offline, Served, offline_slice, serve_slice

__all__ = ["Load", "Series", "load_of", "slice_seconds"]

#: Seconds that a variant runs untimed before its slice where another one has just run: the time that threads
#: of ONNX Runtime wait busily for work is 40 ms, which slow down whatever runs meanwhile.
_LEAD_IN = 0.06

#: Seconds of a slice: one thread, several (whose lead-in is longer), offline.
_SHORT, _LONG, _OFFLINE = 0.06, 0.25, 0.5

#: Slices of a server run: a queue needs time to build up, an interval needs six.
_SERVER_SLICES = 8

#: A server slice is given up after so many times its length.
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Series:
    """What a variant's slices add up to.

    Attributes:
        latencies_ns: of each query, in the order of time.
        costs: of each round, what variants are compared by: nanoseconds an image, of the server scenario the
            median latency; NaN for a round without a query.
        images_per_s: throughput.
        images_ci95: its 95 % interval; None for too few slices.
        seconds: that the slices took.
        unanswered: queries of the server scenario that were given up.
        late_share: of the server scenario: how long the queue took to empty after the last arrival, as a
            share of the slice; the median of the slices, since a stall of the machine delays one of them.
    """

    latencies_ns: NDArray[np.int64]
    costs: NDArray[np.float64]
    images_per_s: float
    images_ci95: Interval | None
    seconds: float
    unanswered: int = 0
    late_share: float = 0.0


class Load(Protocol):
    """The load on one variant: called for each slice."""

    def __call__(self) -> None:
        """Measure a slice."""

    def series(self) -> Series:
        """What the slices so far add up to."""


def slice_seconds(plan: BenchPlan, opened: Sequence[OpenVariant]) -> tuple[float, float]:
    """Seconds of lead-in and of measuring in each variant's slice."""
    several = len(opened) > 1
    threads = max((each.variant.threads or 1 for each in opened), default=1)
    lead_in = _LEAD_IN if several and threads * plan.instances > 1 else 0.0
    longest = plan.duration_s / LEAST_ROUNDS
    if plan.scenario == "server":
        return lead_in, plan.duration_s / _SERVER_SLICES
    if plan.scenario == "offline":
        return lead_in, min(_OFFLINE, longest)
    return lead_in, min(_LONG if lead_in else _SHORT, longest)


def load_of(
    plan: BenchPlan, opened: OpenVariant, call_ns: float, seconds: tuple[float, float], *, several: bool
) -> Load:
    """The load of ``plan`` on ``opened``.

    Args:
        plan: the scenario.
        opened: the variant.
        call_ns: of one call, when warm.
        seconds: lead-in and measuring, of :func:`slice_seconds`.
        several: whether other variants run in between, so that caches are cold.
    """
    lead_in, length = seconds
    if plan.scenario == "offline":
        return _OfflineLoad(opened, lead_in, length)
    if plan.scenario == "server":
        assert plan.target_qps is not None
        return _ServerLoad(opened, plan.target_qps, length, plan.seed, int(several))
    query_ns = call_ns * opened.calls_per_query
    calls = calls_for(query_ns, lead_in) if lead_in else int(several and query_ns < 1e9 * _LEAD_IN)
    return _StreamLoad(opened, CallSlice(opened.queries[0], calls_for(query_ns, length), calls))


class _StreamLoad:
    """One query after the other: single and multi stream."""

    def __init__(self, opened: OpenVariant, calls: CallSlice) -> None:
        self._images, self._calls = opened.images_per_query, calls
        self._slices: list[NDArray[np.int64]] = []

    def __call__(self) -> None:
        self._slices.append(self._calls())

    def series(self) -> Series:
        latencies = np.concatenate(self._slices)
        interval = mean_interval(latencies)
        images = 1e9 * self._images
        return Series(
            latencies_ns=latencies,
            costs=np.array([calls.mean() for calls in self._slices]) / self._images,
            images_per_s=images / float(latencies.mean()),
            images_ci95=None if interval is None else (images / interval[1], images / max(interval[0], 1.0)),
            seconds=1e-9 * float(latencies.sum()),
        )


class _OfflineLoad:
    """Every instance busy."""

    def __init__(self, opened: OpenVariant, lead_in: float, seconds: float) -> None:
        self._opened, self._lead_in, self._seconds = opened, lead_in, seconds
        self._slices: list[Offline] = []

    def __call__(self) -> None:
        if self._lead_in:
            offline_slice(self._opened.calls, self._lead_in)
        self._slices.append(offline_slice(self._opened.calls, self._seconds))

    def series(self) -> Series:
        rates = self._opened.batch * np.array([each.calls_per_s for each in self._slices])
        latencies = np.concatenate([each.latencies_ns for each in self._slices])
        return Series(
            latencies_ns=latencies,
            costs=1e9 / rates,
            images_per_s=float(rates.mean()),
            images_ci95=mean_interval(rates),
            seconds=1e-9 * float(latencies.sum()) / len(self._opened.calls),
        )


class _ServerLoad:
    """Queries that arrive by chance; those of a round are the same for every variant."""

    def __init__(self, opened: OpenVariant, per_s: float, seconds: float, seed: int, lead_in: int) -> None:
        self._opened, self._per_s, self._seconds = opened, per_s, seconds
        self._seed, self._lead_in = seed, lead_in
        self._slices: list[Served] = []

    def __call__(self) -> None:
        for call in self._opened.calls * self._lead_in:
            call()
        seed = 1_000_003 * self._seed + len(self._slices)
        arrivals = poisson_arrivals(self._per_s, self._seconds, seed)
        self._slices.append(serve_slice(self._opened.queries, arrivals, _PATIENCE * self._seconds))

    def series(self) -> Series:
        latencies = np.concatenate([each.latencies_ns for each in self._slices])
        rates = np.array([_answered(each) / max(each.seconds, self._seconds) for each in self._slices])
        return Series(
            latencies_ns=latencies,
            costs=np.array([_median(each.latencies_ns) for each in self._slices]),
            images_per_s=self._opened.images_per_query * float(rates.mean()),
            images_ci95=mean_interval(self._opened.images_per_query * rates),
            seconds=sum(each.seconds for each in self._slices),
            unanswered=sum(each.unanswered for each in self._slices),
            late_share=float(np.median([self._late_s(each) for each in self._slices])) / self._seconds,
        )

    def _late_s(self, served: Served) -> float:
        """Seconds from the end of a slice to its last answer, beyond those of the query that waited least."""
        if not len(served.latencies_ns):
            return 0.0
        return max(0.0, served.seconds - self._seconds - 1e-9 * float(served.latencies_ns.min()))


def _answered(served: Served) -> int:
    return len(served.latencies_ns) - served.unanswered


def _median(latencies: NDArray[np.int64]) -> float:
    return float(np.median(latencies)) if len(latencies) else float("nan")

"""The load of the scenarios that are measured in slices, and what the slices of a variant add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgecnn.bench.opened import OpenVariant
from edgecnn.bench.plan import BenchPlan
from edgecnn.reports.result import Interval
from edgecnn.timing.dependence import mean_interval
from edgecnn.timing.rounds import LEAST_ROUNDS, CallSlice, calls_for
from edgecnn.timing.scenarios import Offline, offline_slice

__all__ = ["Load", "Series", "load_of", "slice_seconds"]

#: Seconds that a variant runs untimed before its slice where another one has just run: the time that threads
#: of ONNX Runtime wait busily for work is 40 ms, which slow down whatever runs meanwhile.
_LEAD_IN = 0.06

#: Seconds of a slice: one thread, several (whose lead-in is longer), offline.
_SHORT, _LONG, _OFFLINE = 0.06, 0.25, 0.5


@dataclass(frozen=True, slots=True)
class Series:
    """What a variant's slices, or its one run of the server scenario, add up to.

    Attributes:
        latencies_ns: of each query, in the order of time.
        costs: of each round, what variants are compared by: nanoseconds an image; empty where there were no
            rounds.
        images_per_s: throughput.
        images_ci95: its 95 % interval; None for too few slices.
        seconds: that the slices took.
    """

    latencies_ns: NDArray[np.int64]
    costs: NDArray[np.float64]
    images_per_s: float
    images_ci95: Interval | None
    seconds: float


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
    if plan.scenario == "offline":
        return lead_in, min(_OFFLINE, longest)
    return lead_in, min(_LONG if lead_in else _SHORT, longest)


def load_of(
    plan: BenchPlan, opened: OpenVariant, call_ns: float, seconds: tuple[float, float], *, several: bool
) -> Load:
    """The load of ``plan``, of any scenario but the server's, on ``opened``.

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

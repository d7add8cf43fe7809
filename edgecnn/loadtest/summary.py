"""What a load test tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.loadtest.records import Fault, Records
from edgecnn.loadtest.run import LoadRun
from edgecnn.timing.order_statistics import Interval
from edgecnn.timing.percentiles import SHARES, summarise

__all__ = ["LatencyMs", "LoadSummary", "Rate", "summarise_load"]

#: Parts of the run whose rates the interval comes from.
_BATCHES = 20

#: The 97.5 % quantile of Student's t with 19 degrees of freedom.
_STUDENT_T = 2.093


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Events a second.

    Attributes:
        per_s: over the whole of the measured time.
        ci95: its 95 % interval; None where there were too few for one.
    """

    per_s: float
    ci95: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyMs:
    """Of one kind of outcome, in milliseconds.

    Attributes:
        count: of requests.
        percentiles: by name, as "p50" and "p99.9"; None where too few exceed it for a figure.
        ci95: their 95 % intervals, likewise.
        max: the longest.
    """

    count: int
    percentiles: dict[str, float | None]
    ci95: dict[str, Interval | None]
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSummary:
    """One run.

    Attributes:
        seconds: that were measured.
        requests: that were due in them.
        answered: answers a second of any kind, refusals included.
        goodput: right answers with success a second.
        accepted: latency of those; None where there were none.
        refused: latency of answers without success, by status.
        faults: how many requests had no answer, or a wrong one, by the fault's name in lower case.
        late_ms: how late requests were sent that were due, for want of a free connection or of CPU here.
        client_cpu_ms: CPU that making the load took, a request.
    """

    seconds: float
    requests: int
    answered: Rate
    goodput: Rate
    accepted: LatencyMs | None
    refused: dict[int, LatencyMs]
    faults: dict[str, int]
    late_ms: LatencyMs | None
    client_cpu_ms: float


def summarise_load(run: LoadRun) -> LoadSummary:
    """The figures of ``run``, of what was due after its warm-up.

    Rates count what was answered within the measured seconds, whenever it was due. Their interval is that of
    batch means (Law, Simulation Modeling and Analysis, section 9.5.3): of the rates of 20 equal parts, which
    are long against the correlation of neighbours.
    """
    records = run.measured
    accepted, fine = records.accepted, records.fault == Fault.NONE
    refusals = np.unique(records.status[fine & ~accepted]).tolist()
    return LoadSummary(
        seconds=run.seconds,
        requests=len(records),
        answered=_rate(run, run.records.status > 0),
        goodput=_rate(run, run.records.accepted),
        accepted=_latency(records.where(accepted)),
        refused={
            status: latency
            for status in refusals
            if (latency := _latency(records.where(fine & (records.status == status)))) is not None
        },
        faults={
            fault.name.lower(): count
            for fault in Fault
            if fault is not Fault.NONE and (count := int((records.fault == fault).sum()))
        },
        late_ms=_figures((records.sent_ns - records.due_ns).astype(np.float64) * 1e-6),
        client_cpu_ms=1e3 * run.cpu_s / max(1, len(run.records)),
    )


def _rate(run: LoadRun, chosen: NDArray[np.bool_]) -> Rate:
    moments = run.records.done_ns[chosen] * 1e-9
    counts, _ = np.histogram(moments, _BATCHES, (0.0, run.seconds))
    total = int(counts.sum())
    if total < _BATCHES:
        return Rate(per_s=total / run.seconds, ci95=None)
    rates = counts * (_BATCHES / run.seconds)
    mean, half = float(rates.mean()), _STUDENT_T * float(rates.std(ddof=1)) / _BATCHES**0.5
    return Rate(per_s=mean, ci95=(max(0.0, mean - half), mean + half))


def _latency(records: Records) -> LatencyMs | None:
    return _figures(records.latency_ms)


def _figures(samples: NDArray[np.float64]) -> LatencyMs | None:
    if not len(samples):
        return None
    found = summarise(samples)
    names = {share: f"p{100 * share:g}" for share in SHARES}
    return LatencyMs(
        count=found.count,
        percentiles={names[share]: one.value for share, one in found.percentiles.items()},
        ci95={names[share]: one.ci95 for share, one in found.percentiles.items()},
        max=float(samples.max()),
    )

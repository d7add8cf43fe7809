"""Make the load of a plan."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgecnn.loadtest.caller import Surroundings
from edgecnn.loadtest.closed import run_closed
from edgecnn.loadtest.open import run_open
from edgecnn.loadtest.plan import LoadPlan
from edgecnn.loadtest.records import Recorder, Records

__all__ = ["LoadRun", "run_load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """What came of a plan.

    Attributes:
        records: of all requests, those of the warm-up included; those have moments below 0.
        seconds: that were measured: of the plan, or until the last answer where it counts requests.
        cpu_s: seconds of CPU that making the load took.
        start_ns: when the measured part began, by ``time.monotonic_ns``: moment 0 of the records.
    """

    records: Records
    seconds: float
    cpu_s: float
    start_ns: int = 0

    @property
    def measured(self) -> Records:
        """Those that were due after the warm-up."""
        return self.records.where(self.records.due_ns >= 0)


def run_load(plan: LoadPlan, observe: Callable[[float], None] = lambda _: None) -> LoadRun:
    """Make the load; returns when the last request has been answered or given up.

    Args:
        plan: which load.
        observe: told now and then what share is done, 0 to 1.
    """
    recorder = Recorder()
    around = Surroundings(
        target=plan.target,
        tls=plan.target.context(verify=plan.verify, ca=plan.ca),
        payloads=plan.payloads,
        recorder=recorder,
        clock=time.monotonic_ns,
    )
    before = _cpu_s()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        start_ns = runner.run((run_closed if plan.rate_per_s is None else run_open)(plan, around, observe))
    cpu_s = _cpu_s() - before
    records = recorder.records(start_ns)
    return LoadRun(records=records, seconds=_seconds(plan, records), cpu_s=cpu_s, start_ns=start_ns)


def _seconds(plan: LoadPlan, records: Records) -> float:
    measured = records.where(records.due_ns >= 0)
    if plan.requests is None or len(measured) < plan.requests:
        assert plan.duration_s is not None
        return plan.duration_s
    return int(measured.done_ns.max()) * 1e-9


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed, which takes half the time."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop

"""The open loop: requests are sent when they are due, whatever became of those before.

A latency counts from when its request was due. If the server stalls, all that are due meanwhile show it,
those included that could not even be sent: nothing is omitted because the sender was held up, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgecnn.loadtest.alarm import Alarm
from edgecnn.loadtest.caller import Caller, Surroundings
from edgecnn.loadtest.plan import LoadPlan
from edgecnn.loadtest.records import Fault
from edgecnn.loadtest.sweep import sweeping
from edgecnn.timing.arrivals import poisson_arrivals

__all__ = ["due_moments", "run_open"]

#: Connections that are made before the start, so that the first requests do not wait for them.
_READY = 32


def due_moments(plan: LoadPlan) -> NDArray[np.int64]:
    """(n,) when the requests of ``plan`` are due, in nanoseconds from the start of its warm-up."""
    assert plan.rate_per_s is not None
    seconds = plan.warmup_s + plan.open_seconds
    if plan.arrivals == "poisson":
        moments = poisson_arrivals(plan.rate_per_s, seconds, plan.seed)
    else:
        moments = (np.arange(int(plan.rate_per_s * seconds)) * (1e9 / plan.rate_per_s)).astype(np.int64)
    if plan.requests is None:
        return moments
    before = int(np.searchsorted(moments, round(plan.warmup_s * 1e9)))
    return moments[: before + plan.requests]


async def run_open(plan: LoadPlan, around: Surroundings, observe: Callable[[float], None]) -> int:
    """Run it; returns the moment of ``around.clock`` at which the measured part began."""
    return await _OpenLoop(plan, around, observe).run()


class _OpenLoop:
    def __init__(self, plan: LoadPlan, around: Surroundings, observe: Callable[[float], None]) -> None:
        self._plan, self._around, self._observe = plan, around, observe
        self._moments = due_moments(plan)
        self._at = 0
        self._start_ns = 0
        self._callers: list[Caller] = []
        self._idle: list[Caller] = []
        self._waiting: deque[int] = deque()
        self._over = asyncio.Event()

    async def run(self) -> int:
        plan = self._plan
        for _ in range(min(_READY, plan.clients)):
            self._idle.append(self._new_caller())
        await asyncio.gather(*(caller.connect() for caller in self._callers), return_exceptions=True)
        # A little later, so that the first is not late for the setting up.
        self._start_ns = self._around.clock() + 5_000_000
        with Alarm(self._around.clock, self._send_due) as self._alarm:
            async with sweeping(self._callers, self._around.clock, plan.timeout_s, self._tick):
                self._set_alarm()
                await self._over.wait()
        for caller in self._callers:
            await caller.close()
        return self._start_ns + round(plan.warmup_s * 1e9)

    def _send_due(self) -> None:
        now = self._around.clock() - self._start_ns
        end = int(np.searchsorted(self._moments, now, side="right"))
        for due in self._moments[self._at : end].tolist():
            self._send(due + self._start_ns)
        self._at = end
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._at < len(self._moments):
            self._alarm.set(int(self._moments[self._at]) + self._start_ns)
        else:
            self._end_if_over()

    def _send(self, due_ns: int) -> None:
        if not self._idle and len(self._callers) < self._plan.clients:
            self._idle.append(self._new_caller())
        if self._idle:
            self._idle.pop().start(due_ns)
        else:
            self._waiting.append(due_ns)

    def _new_caller(self) -> Caller:
        caller = Caller(self._around, self._done)
        self._callers.append(caller)
        return caller

    def _done(self, caller: Caller) -> None:
        self._drop_late()
        if self._waiting:
            caller.start(self._waiting.popleft())
            return
        self._idle.append(caller)
        self._end_if_over()

    def _drop_late(self) -> None:
        """What waited for a connection until its time was over has failed, and is not sent any more."""
        now = self._around.clock()
        latest = now - round(self._plan.timeout_s * 1e9)
        while self._waiting and self._waiting[0] < latest:
            due = self._waiting.popleft()
            self._around.recorder.add((due, now, now), self._around.take(), 0, Fault.TIMEOUT)

    def _end_if_over(self) -> None:
        if self._at == len(self._moments) and len(self._idle) == len(self._callers) and not self._waiting:
            self._over.set()

    def _tick(self) -> None:
        self._drop_late()
        self._observe(self._at / max(1, len(self._moments)))

"""The closed loop: every client sends as soon as its last request is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edgecnn.loadtest.caller import Caller, Surroundings
from edgecnn.loadtest.plan import LoadPlan
from edgecnn.loadtest.sweep import sweeping

__all__ = ["run_closed"]


async def run_closed(plan: LoadPlan, around: Surroundings, observe: Callable[[float], None]) -> int:
    """Run it; returns the moment of ``around.clock`` at which the measured part began."""
    return await _ClosedLoop(plan, around, observe).run()


class _ClosedLoop:
    def __init__(self, plan: LoadPlan, around: Surroundings, observe: Callable[[float], None]) -> None:
        self._plan, self._around, self._observe = plan, around, observe
        self._callers = [Caller(around, self._next) for _ in range(plan.clients)]
        self._begin_ns = 0
        self._end_ns: int | None = None
        self._left: int | None = None
        self._under_way = plan.clients
        self._over = asyncio.Event()

    async def run(self) -> int:
        await asyncio.gather(*(caller.connect() for caller in self._callers), return_exceptions=True)
        plan, now = self._plan, self._around.clock()
        self._begin_ns = now + round(plan.warmup_s * 1e9)
        if plan.duration_s is not None:
            self._end_ns = self._begin_ns + round(plan.duration_s * 1e9)
        self._left = plan.requests
        async with sweeping(self._callers, self._around.clock, plan.timeout_s, self._tick):
            for caller in self._callers:
                self._next(caller)
            await self._over.wait()
        for caller in self._callers:
            await caller.close()
        return self._begin_ns

    def _next(self, caller: Caller) -> None:
        now = self._around.clock()
        if self._wanted(now):
            caller.start(now)
            return
        self._under_way -= 1
        if not self._under_way:
            self._over.set()

    def _wanted(self, now: int) -> bool:
        """Whether another request is to be sent, and counted."""
        if self._end_ns is not None and now >= self._end_ns:
            return False
        if self._left is None or now < self._begin_ns:
            return True
        self._left -= 1
        return self._left >= 0

    def _tick(self) -> None:
        shares = [0.0]
        if self._end_ns is not None:
            shares.append((self._around.clock() - self._begin_ns) / (self._end_ns - self._begin_ns))
        if self._plan.requests and self._left is not None:
            shares.append(1 - self._left / self._plan.requests)
        self._observe(min(1.0, max(shares)))

"""The lanes of an open plan, shared by the threads that call it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from edgecnn.engines.cuda.runtime import CudaRuntime
from edgecnn.engines.cuda.scope import Scope
from edgecnn.engines.plan_lane import PlanLane

__all__ = ["PlanLanes"]


class PlanLanes:
    """Gives each call a lane that nobody else has; calls wait where all are busy."""

    def __init__(self, cuda: CudaRuntime, device: int, lanes: list[PlanLane], scope: Scope) -> None:
        """Own ``lanes``, and ``scope``, which releases them.

        Args:
            cuda: that they run on.
            device: the GPU.
            lanes: all idle.
            scope: what they hold.
        """
        self._cuda, self._device, self._scope = cuda, device, scope
        self._idle, self._count = list(lanes), len(lanes)
        self._changed = Condition()
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[PlanLane | None]:
        """A lane, for the ``with`` block; None once they are closed.

        Raises:
            EngineError: CUDA fails.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._closed)
            lane = None if self._closed else self._idle.pop()
        if lane is None:
            yield None
            return
        try:
            self._cuda.select(self._device)  # a thread starts with GPU 0
            yield lane
        finally:
            with self._changed:
                self._idle.append(lane)
                self._changed.notify_all()

    def close(self) -> None:
        """Wait until runs under way have ended, and release everything. A second call does nothing.

        Raises:
            EngineError: a release failed; all others have been tried.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._idle) == self._count)
            self._idle = []
        with self._scope:
            self._cuda.select(self._device)

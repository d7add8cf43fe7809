"""The clock that everything here is timed by, and waiting for a moment of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["SYSTEM_CLOCK", "Clock"]

#: A sleep ends late by some tens of microseconds: the last stretch is waited for busily.
_BUSY_NS = 150_000


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, and how to let it pass; tests give their own.

    Attributes:
        now: nanoseconds, never running backwards.
        sleep: lets so many seconds pass, or a little more.
    """

    now: Callable[[], int]
    sleep: Callable[[float], None]

    def wait_until(self, moment: int) -> None:
        """Return at ``moment`` (nanoseconds of ``now``), or at once when it has passed."""
        left = moment - self.now()
        if left > _BUSY_NS:
            self.sleep((left - _BUSY_NS) * 1e-9)
        now = self.now
        while now() < moment:
            pass


SYSTEM_CLOCK = Clock(time.perf_counter_ns, time.sleep)

"""Wakes the event loop at a moment, to some tens of microseconds where the system has timers for it.

The timers of asyncio and of uvloop count in milliseconds: a request that answers in two of them would seem to
take half of one longer.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from types import TracebackType

__all__ = ["Alarm"]

#: Of timerfd_create(2), in Linux.
_CLOCK_MONOTONIC, _CLOEXEC_NONBLOCK = 1, os.O_CLOEXEC | os.O_NONBLOCK

_LIBC = ctypes.CDLL(None)


class _Setting(ctypes.Structure):
    """struct itimerspec: interval, then value, each of seconds and nanoseconds."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "in_s", "in_ns")]


class Alarm:
    """Calls a function at one moment after the other, in the running event loop."""

    def __init__(self, clock: Callable[[], int], call: Callable[[], None]) -> None:
        """Be unset.

        Args:
            clock: nanoseconds, never running backwards.
            call: called at each moment that was set, or a little later.
        """
        self._clock, self._call = clock, call
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        self._timer = _new_timer()
        if self._timer is not None:
            self._loop.add_reader(self._timer, self._ring)

    def set(self, moment_ns: int) -> None:
        """Call at ``moment_ns`` of the clock, at once if that has passed; only one moment is kept."""
        left = moment_ns - self._clock()
        if left <= 0:
            self._handle = self._loop.call_soon(self._call)
        elif self._timer is None:
            self._handle = self._loop.call_later(left * 1e-9, self._call)
        else:
            setting = _Setting(0, 0, *divmod(left, 1_000_000_000))
            _LIBC.timerfd_settime(self._timer, 0, ctypes.byref(setting), None)

    def __enter__(self) -> Alarm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._timer is not None:
            self._loop.remove_reader(self._timer)
            os.close(self._timer)

    def _ring(self) -> None:
        assert self._timer is not None
        os.read(self._timer, 8)
        self._call()


def _new_timer() -> int | None:
    """A file that becomes readable when its time has come; None where there are none."""
    if sys.platform != "linux":
        return None
    timer = int(_LIBC.timerfd_create(_CLOCK_MONOTONIC, _CLOEXEC_NONBLOCK))
    return timer if timer >= 0 else None

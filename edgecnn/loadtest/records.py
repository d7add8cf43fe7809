"""What happened to each request, in columns: a million of them fit into 30 MB."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fault", "Recorder", "Records"]


class Fault(IntEnum):
    """Why a request has no answer to be content with."""

    NONE = 0
    #: No connection could be made.
    CONNECT = 1
    #: The connection ended before the answer.
    RESET = 2
    #: No answer in time.
    TIMEOUT = 3
    #: What came is no HTTP.
    PROTOCOL = 4
    #: An answer of another content than it should have.
    WRONG = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Records:
    """All requests of a run, in the order in which they were due. Moments in nanoseconds from its start.

    Attributes:
        due_ns: (n,) int64, when each was to be sent; in a closed loop, when its client was free to.
        sent_ns: (n,) int64, when it was; where there was no connection to send by, when that was given up.
        done_ns: (n,) int64, when it was answered, or failed.
        status: (n,) int16 of HTTP; 0 where there was no answer.
        fault: (n,) int8, of :class:`Fault`.
        payload: (n,) int32, which payload it was.
    """

    due_ns: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]
    status: NDArray[np.int16]
    fault: NDArray[np.int8]
    payload: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.due_ns)

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """(n,) which were answered with success, and rightly."""
        found: NDArray[np.bool_] = (self.status >= 200) & (self.status < 300) & (self.fault == Fault.NONE)
        return found

    @property
    def latency_ms(self) -> NDArray[np.float64]:
        """(n,) from when each was due until it was done."""
        return (self.done_ns - self.due_ns).astype(np.float64) * 1e-6

    def where(self, chosen: NDArray[np.bool_]) -> Records:
        """Some of them, in the same order."""
        return Records(
            due_ns=self.due_ns[chosen],
            sent_ns=self.sent_ns[chosen],
            done_ns=self.done_ns[chosen],
            status=self.status[chosen],
            fault=self.fault[chosen],
            payload=self.payload[chosen],
        )


class Recorder:
    """Collects records in the order in which requests end."""

    def __init__(self) -> None:
        self._due, self._sent, self._done = array("q"), array("q"), array("q")
        self._status, self._fault, self._payload = array("h"), array("b"), array("i")

    def add(self, moments_ns: tuple[int, int, int], payload: int, status: int, fault: Fault) -> None:
        """A request has ended; ``moments_ns`` are when it was due, sent and done."""
        due, sent, done = moments_ns
        self._due.append(due)
        self._sent.append(sent)
        self._done.append(done)
        self._status.append(status)
        self._fault.append(fault)
        self._payload.append(payload)

    def __len__(self) -> int:
        return len(self._due)

    def records(self, start_ns: int) -> Records:
        """What was collected, with moments from ``start_ns`` on."""
        due = np.array(self._due, np.int64)
        order = np.argsort(due, kind="stable")
        return Records(
            due_ns=due[order] - start_ns,
            sent_ns=np.array(self._sent, np.int64)[order] - start_ns,
            done_ns=np.array(self._done, np.int64)[order] - start_ns,
            status=np.array(self._status, np.int16)[order],
            fault=np.array(self._fault, np.int8)[order],
            payload=np.array(self._payload, np.int32)[order],
        )

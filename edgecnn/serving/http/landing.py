"""Bodies of known length: the socket writes them into place, into memory that is used again."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["BodyMemory", "Landing"]

_GRAIN_BYTES: Final = 16384
_MAX_IDLE_BYTES: Final = 64 * 1024 * 1024

#: Blocks that are looked at for one that nobody holds any more.
_TRIES: Final = 4


class BodyMemory:
    """Hands out memory for bodies, and takes it back for the next.

    glibc returns freed blocks of this size to the system, and every new one is paid for in page faults:
    0.25 ms for a 602 KB tensor, five times what it costs to receive it.
    """

    def __init__(self) -> None:
        self._idle: dict[int, deque[bytearray]] = {}
        self._idle_bytes = 0

    def take(self, length: int) -> bytearray:
        """At least ``length`` bytes that nobody else holds; what they contain is unspecified."""
        if length < _GRAIN_BYTES:
            return bytearray(length)
        size = -(-length // _GRAIN_BYTES) * _GRAIN_BYTES
        idle = self._idle.get(size, deque())
        # The one that came back last is still in the caches; but who had it may not have let go of it yet.
        for _ in range(min(_TRIES, len(idle))):
            buffer = idle.pop()
            if _unheld(buffer):
                self._idle_bytes -= size
                return buffer
            idle.appendleft(buffer)
        return bytearray(size)

    def give_back(self, buffer: bytearray) -> None:
        """Offer ``buffer`` for another body. Who still holds a view or an array of it keeps it for good."""
        size = len(buffer)
        if size < _GRAIN_BYTES or size > _MAX_IDLE_BYTES:
            return
        idle = self._idle.setdefault(size, deque())
        idle.append(buffer)
        self._idle_bytes += size
        if self._idle_bytes > _MAX_IDLE_BYTES:
            self._drop_another(size)

    def _drop_another(self, size: int) -> None:
        """Let go of the oldest block of another size, for these may come no more; of this size otherwise."""
        others = (each for each, idle in self._idle.items() if idle and each != size)
        dropped = next(others, size)
        self._idle[dropped].popleft()
        self._idle_bytes -= dropped


class Landing:
    """One body, filled from its beginning.

    Attributes:
        view: the whole of it.
        buffer: the memory that it lies in, which may be larger.
        wire_bytes: how much of it came.
    """

    __slots__ = ("buffer", "view", "wire_bytes")

    def __init__(self, buffer: bytearray, length: int, came: bytes) -> None:
        """Begin with what ``came`` together with the head, at most ``length`` bytes."""
        self.buffer = buffer
        self.view = memoryview(buffer)[:length]
        self.wire_bytes = len(came)
        self.view[: len(came)] = came

    @property
    def room(self) -> memoryview:
        """What is still to be filled."""
        return self.view[self.wire_bytes :]

    def advance(self, amount: int) -> bool:
        """Note that ``amount`` bytes of :attr:`room` were written; whether the body is whole."""
        self.wire_bytes += amount
        return self.wire_bytes == len(self.view)


def _unheld(buffer: bytearray) -> bool:
    """Whether no view of ``buffer`` exists: only then does Python let its size be changed."""
    try:
        buffer.append(buffer.pop())  # within what is allocated: nothing moves
    except BufferError:
        return False
    return True

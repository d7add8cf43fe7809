"""What a client may take: time, connections and memory."""

from __future__ import annotations

from dataclasses import dataclass, fields

from edgecnn.errors import UsageError
from edgecnn.serving.faults import OverloadedError

__all__ = ["BodyBudget", "HttpLimits"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of one server. All are above zero.

    Attributes:
        header_timeout_s: for a whole head, from its first byte; also for the first byte of a connection.
        body_timeout_s: for a whole body.
        min_body_bytes_per_s: what a body must come at, on average, once ``body_grace_s`` are over.
        body_grace_s: how long a body may come slower.
        idle_timeout_s: between requests of a connection.
        write_timeout_s: how long a client may take nothing of an answer.
        linger_s: how long what a refused client still sends is read and dropped, so that it can read its
            answer: closing at once would reset the connection (RFC 9112, section 9.6).
        max_connections: open at once.
        max_header_bytes: of request line and header fields together.
        max_body_bytes: of a request, where its route does not say otherwise.
        max_body_bytes_in_flight: of all requests together that are being received or answered.
        max_pipelined_bytes: that are read ahead while a request is being answered.
    """

    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    min_body_bytes_per_s: float = 1024.0
    body_grace_s: float = 5.0
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 30.0
    linger_s: float = 2.0
    max_connections: int = 1024
    max_header_bytes: int = 16384
    max_body_bytes: int = 64 * _MIB
    max_body_bytes_in_flight: int = 512 * _MIB
    max_pipelined_bytes: int = 65536

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not value > 0:
                raise UsageError(f"The limit {limit.name} is {value}.", "Give a number above zero.")
        if self.max_body_bytes > self.max_body_bytes_in_flight:
            raise UsageError(
                f"One body may have {self.max_body_bytes} bytes, and all together "
                f"{self.max_body_bytes_in_flight}.",
                "Raise max_body_bytes_in_flight, or lower max_body_bytes.",
            )

    def too_slow(self, received: int, elapsed_s: float) -> bool:
        """Whether a body of which ``received`` bytes came in ``elapsed_s`` is given up."""
        if elapsed_s >= self.body_timeout_s:
            return True
        return elapsed_s > self.body_grace_s and received < elapsed_s * self.min_body_bytes_per_s

    @property
    def sweep_s(self) -> float:
        """How often timeouts are looked for: late by a quarter of the shortest at most, or by a second."""
        shortest = min(
            self.header_timeout_s,
            self.body_timeout_s,
            self.idle_timeout_s,
            self.write_timeout_s,
            self.linger_s,
        )
        return min(1.0, shortest / 4)


class BodyBudget:
    """Bytes of bodies that all connections of a server may hold together.

    Attributes:
        used: bytes that are held now.
    """

    __slots__ = ("_total", "used")

    def __init__(self, total: int) -> None:
        self._total = total
        self.used = 0

    def take(self, amount: int) -> None:
        """Reserve ``amount`` bytes.

        Raises:
            OverloadedError: the others hold too much.
        """
        if self.used + amount > self._total:
            raise OverloadedError(
                f"The bodies of requests in flight take {self.used} of {self._total} bytes.", 1.0
            )
        self.used += amount

    def release(self, amount: int) -> None:
        """Give ``amount`` bytes back."""
        self.used -= amount

"""What all connections of a server share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgecnn.serving.http.incoming import Incoming
from edgecnn.serving.http.landing import BodyMemory
from edgecnn.serving.http.limits import BodyBudget, HttpLimits
from edgecnn.serving.http.message import Request
from edgecnn.serving.http.routing import Router

if TYPE_CHECKING:
    from edgecnn.serving.http.connection import HttpConnection

__all__ = ["Surroundings"]

_SCRATCH_BYTES = 65536


@dataclass(slots=True, eq=False)
class Surroundings:
    """Shared by the connections of one server, all in one event loop.

    Attributes:
        router: finds handlers.
        limits: of time and memory.
        clock: seconds, in the time of the event loop.
        report: called with each request, its status, the bytes of body sent, and the seconds it took.
        changed: called when a connection was opened or closed.
        budget: of bodies.
        memory: for bodies of known length.
        incoming: makes requests.
        arriving: accepted, and still at their handshake.
        connections: those that are open; each adds and removes itself.
        draining: no further request is begun.
        to_shed: so many connections are closed after their next answers.
        scratch: where sockets write what is not a body. One for all: an event loop reads from a socket and
            hands over what it read before it turns to another.
    """

    router: Router
    limits: HttpLimits
    clock: Callable[[], float]
    report: Callable[[Request, int, int, float], None]
    changed: Callable[[], None]
    budget: BodyBudget
    memory: BodyMemory = field(default_factory=BodyMemory)
    incoming: Incoming = field(default_factory=Incoming)
    arriving: set[HttpConnection] = field(default_factory=set)
    connections: set[HttpConnection] = field(default_factory=set)
    draining: bool = False
    to_shed: int = 0
    scratch: memoryview = field(default_factory=lambda: memoryview(bytearray(_SCRATCH_BYTES)))

    def shed_one(self) -> bool:
        """Whether the connection that is about to answer is one of those to be closed."""
        if self.to_shed <= 0:
            return False
        self.to_shed -= 1
        return True

"""What supervisor and worker say to each other."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "Answer",
    "Answers",
    "Asking",
    "Beat",
    "Broadcast",
    "Call",
    "Connection",
    "Failed",
    "FromSupervisor",
    "FromWorker",
    "Leaving",
    "Lost",
    "Ready",
    "Shed",
    "Start",
    "Status",
    "Stop",
]


class Start(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The first message: what to run.

    Attributes:
        entry: "module:function" of the worker.
        document: its settings.
        index: of this worker, from 0; its replacement has the same.
        workers: how many there are.
        event_loop: "module:function" that makes the event loop.
        heartbeat_s: how often to send ``Beat``.
        drain_s: how long a worker may live on when the supervisor has died.
    """

    entry: str
    document: dict[str, Any]
    index: int
    workers: int
    event_loop: str
    heartbeat_s: float
    drain_s: float


class Connection(msgspec.Struct, frozen=True, tag=True):
    """A connection comes with this message."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Drain and end; no connection follows."""


class Shed(msgspec.Struct, frozen=True, tag=True):
    """Close so many connections, each after its next answer: other workers have fewer."""

    connections: int


class Call(msgspec.Struct, frozen=True, tag=True):
    """A broadcast message that asks for an ``Answer`` of the same number."""

    number: int
    message: dict[str, Any]


class Answers(msgspec.Struct, frozen=True, tag=True):
    """What the workers answered to this worker's ``Broadcast`` of the same number."""

    number: int
    answers: list[dict[str, Any]]


class Asking(msgspec.Struct, frozen=True, tag=True):
    """From now on the worker takes connections."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker is warm."""


class Beat(msgspec.Struct, frozen=True, tag=True):
    """The worker's event loop turns."""


class Leaving(msgspec.Struct, frozen=True, tag=True):
    """The worker was asked by a signal to end, and wants to be replaced first."""


class Status(msgspec.Struct, frozen=True, tag=True):
    """How busy the worker is.

    Attributes:
        taken: connections that it took out of the channel since its start.
        open: connections that it has open, of those.
    """

    taken: int
    open: int


class Lost(msgspec.Struct, frozen=True, tag=True):
    """A connection did not arrive, for the worker has as many files open as it may.

    Attributes:
        before: connections that came before it and are not taken yet.
    """

    before: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The worker ends, for a reason that it can name.

    Attributes:
        problem, remedy, exit_code: of the ``EdgecnnError``.
    """

    problem: str
    remedy: str
    exit_code: int


class Broadcast(msgspec.Struct, frozen=True, tag=True):
    """To be sent to all workers.

    Attributes:
        number: the sender's, for ``Answers``.
        message: what to send.
        keep: a topic whose latest message workers that start later are sent too; None: it is not kept.
    """

    number: int
    message: dict[str, Any]
    keep: str | None


class Answer(msgspec.Struct, frozen=True, tag=True):
    """To the ``Call`` of the same number."""

    number: int
    answer: dict[str, Any]


FromSupervisor = Start | Connection | Shed | Stop | Call | Answers
FromWorker = Asking | Ready | Beat | Leaving | Status | Lost | Failed | Broadcast | Answer

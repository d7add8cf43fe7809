"""What a supervisor is told, and how it ends when it cannot go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecnn.errors import EdgecnnError

__all__ = ["SupervisorSettings", "WorkerError"]


class WorkerError(EdgecnnError):
    """No worker can be brought to serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """Which workers, where they listen, and how patient the supervisor is with them.

    Attributes:
        entry: "module:function" of ``async def function(channel: WorkerChannel, document: dict) -> None``,
            which serves until ``channel.stopping`` is set, and then drains.
        document: JSON values that each worker is given.
        workers: how many processes.
        host: name or address to listen on.
        port: 0 takes a free one.
        tls_files: certificate and key of TLS, which the supervisor needs to refuse connections in words; None
            for connections in the clear.
        event_loop: "module:function" that makes a worker's event loop, such as "uvloop:new_event_loop".
        backlog: connections that the kernel queues before they are accepted.
        window: connections that a worker may leave untaken before the others, or the waiting room, get them.
        hold_s: how long a connection waits while there is no worker to take it; then it is refused.
        max_held: how many wait so.
        start_s: silence allowed until a worker is ready; loading a model may block its event loop.
        heartbeat_s: how often a worker says that it lives.
        hang_s: silence after which a worker that was ready is taken for hung and killed.
        settle_s: how long a worker that is to drain gets no connections before it is told: those that came a
            moment ago have their first request on its way, which would be lost if it closed what is idle.
        drain_s: what workers have to finish their requests in.
        exit_s: what they have on top of it to tidy up and exit; then they are killed.
        restart_s: delay before a second restart in a row (the first is at once); it doubles from then on.
        longest_restart_s: where that ends.
        stable_s: a worker that was ready for so long starts with a clean record.
        most_early_deaths: of one worker in a row that was never ready; then, if no other is ready, the
            supervisor gives up.
    """

    entry: str
    document: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 1
    host: str = "127.0.0.1"
    port: int = 8000
    tls_files: tuple[Path, Path] | None = None
    event_loop: str = "asyncio:new_event_loop"
    backlog: int = 1024
    window: int = 64
    hold_s: float = 2.0
    max_held: int = 256
    start_s: float = 600.0
    heartbeat_s: float = 1.0
    hang_s: float = 30.0
    settle_s: float = 0.25
    drain_s: float = 30.0
    exit_s: float = 5.0
    restart_s: float = 0.5
    longest_restart_s: float = 30.0
    stable_s: float = 30.0
    most_early_deaths: int = 5

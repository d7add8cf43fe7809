"""A worker and its replacements, with processes that are only pretended."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest

from edgecnn.serving.workers.process import WorkerProcess
from edgecnn.serving.workers.settings import SupervisorSettings, WorkerError
from edgecnn.serving.workers.slot import Slot

SETTINGS = SupervisorSettings(entry="", restart_s=0.001, longest_restart_s=0.002)


class Pretended:
    index = pid = 0
    failure = None
    ready_since_s: float | None = 0.0

    def __init__(self) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.first_ready = asyncio.Event()
        self.first_ready.set()
        self.is_ready = True

    def stop(self) -> None:
        self.ended.set_result(0)


class Spawns:
    """Starts, or fails where it is told to."""

    def __init__(self, *works: bool) -> None:
        self.works, self.made = list(works), list[Pretended]()

    def __call__(self) -> WorkerProcess:
        if not self.works.pop(0):
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self.made.append(Pretended())
        return cast(WorkerProcess, self.made[-1])

    def slot(self) -> Slot:
        return Slot(self, SETTINGS, is_served=lambda: True, was_served=lambda: True)


Until = Callable[[Callable[[], bool]], "asyncio.Future[None]"]


def test_no_room_for_a_process_ends_the_start() -> None:
    async def scenario() -> None:
        with pytest.raises(WorkerError, match="temporarily unavailable"):
            await Spawns(False).slot().keep()

    asyncio.run(scenario())


def test_no_room_for_a_replacement_is_tried_again(until: Until) -> None:
    async def scenario() -> None:
        spawns = Spawns(True, False, False, True)
        slot = spawns.slot()
        keeping = asyncio.create_task(slot.keep())
        await until(lambda: len(spawns.made) == 1)
        spawns.made[0].ended.set_result(-9)
        await until(lambda: len(spawns.made) == 2)
        assert cast(Pretended, slot.current) is spawns.made[1]
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping

    asyncio.run(scenario())


def test_a_worker_is_replaced_once_and_stays_where_there_is_no_room(until: Until) -> None:
    async def scenario() -> None:
        spawns = Spawns(True, False, True)
        slot = spawns.slot()
        keeping = asyncio.create_task(slot.keep())
        await until(lambda: len(spawns.made) == 1)
        first = slot.current
        assert not await slot.replace(first)
        assert slot.current is first
        assert await slot.replace(first)
        assert await slot.replace(first)  # it has been: nothing to do
        assert len(spawns.made) == 2
        assert spawns.made[0].ended.result() == 0
        await asyncio.sleep(0)
        assert not keeping.done()
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping

    asyncio.run(scenario())

"""Messages from one worker to all, and the latest of each kept topic to those that start later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Any

from edgecnn.serving.workers.messages import Answers, Broadcast
from edgecnn.serving.workers.process import WorkerProcess

__all__ = ["Broadcasts"]

_LOG = logging.getLogger(__name__)

_Message = dict[str, Any]


class Broadcasts:
    """Delivers messages, so that all workers know the same.

    Those that are kept go one after another, in the same order to each worker.
    """

    def __init__(self, workers: Callable[[], Collection[WorkerProcess]]) -> None:
        self._workers = workers
        self._kept: dict[str, _Message] = {}
        self._turn = asyncio.Lock()

    async def deliver(self, sender: WorkerProcess, request: Broadcast) -> None:
        """Send to all that are ready and to the sender; give the sender their answers."""
        # One that is not kept leaves nothing behind that could get out of step, and need not wait.
        async with self._turn if request.keep is not None else nullcontext():
            before = None
            if request.keep is not None:
                before = self._kept.get(request.keep)
                # At once: a worker that becomes ready meanwhile is to have it too.
                self._kept[request.keep] = request.message
            targets = [each for each in self._workers() if each.is_ready or each is sender]
            answers = [
                answer
                for answer in await asyncio.gather(*(each.call(request.message) for each in targets))
                if answer is not None
            ]
            if request.keep is not None and any("error" in answer for answer in answers):
                self._restore(request.keep, before)
            sender.answer(Answers(request.number, answers))

    async def replay(self, worker: WorkerProcess) -> None:
        """Send a new worker the kept messages; when it returns, there is none that it does not have."""
        sent: dict[str, _Message] = {}
        while due := {key: each for key, each in self._kept.items() if sent.get(key) is not each}:
            for topic, message in due.items():
                answer = await worker.call(message)
                sent[topic] = message
                if answer is None:
                    return
                if "error" in answer:
                    _LOG.error("Worker %d could not catch up on %s: %s", worker.index, topic, answer["error"])

    def _restore(self, topic: str, before: _Message | None) -> None:
        if before is None:
            del self._kept[topic]
        else:
            self._kept[topic] = before

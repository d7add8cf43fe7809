"""Images of many requests, gathered into batches while every engine is busy. Asyncio only.

It is work-conserving: while an engine is free, an image goes to it at once; while all are busy, images
gather. An engine is given several batches at once where more than that wait: then the event loop, whose code
and data have left the caches by then, is woken once for all of them. It knows nothing of models: it drives
callables, and all of its state lives on one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from edgecnn.serving.batch_sizes import BatchSizes
from edgecnn.serving.faults import DeadlineError, OverloadedError, UnavailableError
from edgecnn.serving.turn import Ran, Run

__all__ = ["Answered", "Batcher", "BatcherSettings"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: Seconds that a request must have left for each second that it is expected to wait: expectations err, and
#: what expires in the queue took a place in it for nothing.
_MARGIN = 1.5

#: Weight of the newest batch in the running mean of the time per image.
_NEWEST = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherSettings:
    """How images are gathered.

    Attributes:
        sizes: of the batches.
        max_queue: images that may wait; more are refused at once.
        max_delay_s: how long a free engine waits for a full batch, from the first image's arrival on.
        turn_s: how long the batches may take together that an engine is given at once, at the pace of the
            last ones; they are never more than half of what waits. 0 for one batch.
    """

    sizes: BatchSizes = field(default_factory=lambda: BatchSizes((1,)))
    max_queue: int = 256
    max_delay_s: float = 0.0
    turn_s: float = 0.0

    def __post_init__(self) -> None:
        if self.max_queue < 1 or self.max_delay_s < 0 or self.turn_s < 0:
            raise ValueError("max_queue must be at least 1, and no time negative")


@dataclass(frozen=True, slots=True)
class Answered(Generic[Answer]):
    """What became of a request.

    Attributes:
        answers: one for each item, in their order.
        queue_s: from its arrival until the last of its batches began.
        compute_s: the longest of its batches.
        batches: sizes of the batches that its items were in, in the order of their ends.
    """

    answers: list[Answer]
    queue_s: float
    compute_s: float
    batches: tuple[int, ...]


class _Request(Generic[Item, Answer]):
    """The items of one caller, until all are answered or one thing goes wrong."""

    __slots__ = (
        "answers",
        "arrived",
        "arrived_s",
        "batches",
        "compute_s",
        "future",
        "items",
        "queue_s",
        "timer",
        "waiting",
    )

    def __init__(
        self,
        items: Sequence[Item],
        future: asyncio.Future[Answered[Answer]],
        arrived: float,
        arrived_s: float,
    ) -> None:
        self.items: Sequence[Item] = items
        self.future = future
        self.arrived = arrived  # in the loop's time, for what is due
        self.arrived_s = arrived_s  # by the clock, for what is measured
        self.answers: dict[int, Answer] = {}
        self.waiting = len(items)
        self.queue_s = self.compute_s = 0.0
        self.batches: list[int] = []
        self.timer: asyncio.TimerHandle | None = None

    def take(self, index: int, answer: Answer, ran: Ran[Answer], batch: int) -> None:
        """One of the answers, of a batch of so many; with the last of them the future is done."""
        self.answers[index] = answer
        self.queue_s = max(self.queue_s, ran.begun_s - self.arrived_s)
        self.compute_s = max(self.compute_s, ran.took_s)
        self.batches.append(batch)
        if len(self.answers) == len(self.items):
            answers = [self.answers[place] for place in range(len(self.items))]
            self.future.set_result(Answered(answers, self.queue_s, self.compute_s, tuple(self.batches)))


#: An item in the queue or in a batch: its request, and its place there.
_Entry = tuple[_Request[Item, Answer], int]


class Batcher(Generic[Item, Answer]):
    """Hands items to engines, in the order of their arrival, as batches of the sizes that are worth forming.

    Every request is answered exactly once: with its own answers, with the error of a batch that held one of
    its items, or with the reason why it was refused or dropped. One that is cancelled or expires before its
    turn never costs a run.
    """

    def __init__(
        self,
        runs: Sequence[Run[Item, Answer]],
        settings: BatcherSettings,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Make a batcher on the running event loop.

        Args:
            runs: one callable for each engine; none is called again before its turn is over.
            settings: how images are gathered.
            clock: seconds, for what is measured; uvloop's own time has steps of a millisecond.
        """
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._settings = settings
        self._runs = tuple(runs)
        # The engine that ran last is taken first: its memory is still in the caches.
        self._idle = list(self._runs)
        self._queue: deque[_Entry[Item, Answer]] = deque()
        self._waiting = 0
        self._per_item_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def waiting(self) -> int:
        """Items that no engine has yet."""
        return self._waiting

    @property
    def expected_wait_s(self) -> float:
        """What an item that came now would wait for those before it, at the pace of the last batches."""
        return self._waiting * self._per_item_s / len(self._runs)

    def submit(
        self, items: Sequence[Item], deadline: float | None = None
    ) -> asyncio.Future[Answered[Answer]]:
        """Take the items of one request, all of them or none.

        Args:
            items: at least one.
            deadline: in the loop's time; None for none.

        Returns:
            What to await; cancelling it withdraws the items that no engine has yet. Besides an engine's
            error it may end with :class:`DeadlineError`.

        Raises:
            UnavailableError: the batcher is closed.
            DeadlineError: the deadline has passed.
            OverloadedError: the queue has no room, or is so long that the deadline would pass in it.
        """
        self.require_room(len(items), deadline)
        future: asyncio.Future[Answered[Answer]] = self._loop.create_future()
        request = _Request(items, future, self._loop.time(), self._clock())
        if deadline is not None:
            request.timer = self._loop.call_at(deadline, self._expire, request)
        request.future.add_done_callback(partial(self._ended, request))
        self._queue.extend((request, index) for index in range(len(items)))
        self._waiting += len(items)
        self._drained.clear()
        self._pump()
        return request.future

    def require_room(self, count: int, deadline: float | None = None) -> None:
        """What :meth:`submit` would raise for so many items now.

        Raises:
            UnavailableError, DeadlineError, OverloadedError: as :meth:`submit`.
        """
        if not count:
            raise ValueError("a request needs at least one item")
        if self._closed:
            raise UnavailableError("The model is being unloaded.", "Try again in a moment.")
        now, wait_s = self._loop.time(), self.expected_wait_s
        if deadline is not None and deadline <= now:
            raise DeadlineError("The request's time had run out when it reached the queue.", "Allow it more.")
        if self._waiting + count > self._settings.max_queue:
            raise OverloadedError(f"The queue is full: {self._waiting} images wait.", wait_s)
        if deadline is not None and now + _MARGIN * wait_s > deadline:
            raise OverloadedError(f"{self._waiting} images wait: the request would expire.", wait_s)

    async def close(self) -> None:
        """Refuse what comes from now on, and return when everything before it is answered."""
        self._closed = True
        self._pump()
        await self._drained.wait()

    def _pump(self) -> None:
        """Give the idle engines what there is to do."""
        while self._idle and self._waiting:
            if self._waiting < self._settings.sizes.largest and self._may_wait():
                return
            turn = self._turn()
            if turn:
                self._start(self._idle.pop(), turn)

    def _turn(self) -> list[list[_Entry[Item, Answer]]]:
        """The next batches for one engine; none if all that waited was withdrawn a moment ago."""
        batches = []
        for _ in range(self._batches_of_a_turn()):
            batch = self._taken(self._settings.sizes.take(self._waiting, len(self._idle)))
            if not batch:
                break
            batches.append(batch)
        return batches

    def _batches_of_a_turn(self) -> int:
        """One, or as many full ones as there is time for, out of one engine's share of half the queue.

        The other half keeps the engine busy while the clients of the first are answered.
        """
        largest = self._settings.sizes.largest
        share = self._waiting // (2 * len(self._runs) * largest)
        if share < 2 or not self._per_item_s:
            return 1
        return max(1, min(share, int(self._settings.turn_s / (self._per_item_s * largest))))

    def _may_wait(self) -> bool:
        """Whether the first item's delay is not over yet; then a timer is set for its end."""
        if not self._settings.max_delay_s or self._closed:
            return False
        first = next((request for request, _ in self._queue if not request.future.done()), None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if first is None or self._loop.time() >= (due := first.arrived + self._settings.max_delay_s):
            return False
        self._timer = self._loop.call_at(due, self._pump)
        return True

    def _taken(self, size: int) -> list[_Entry[Item, Answer]]:
        """The next ``size`` items, or fewer where some were withdrawn a moment ago."""
        batch: list[_Entry[Item, Answer]] = []
        while self._queue and len(batch) < size:
            entry = self._queue.popleft()
            request = entry[0]
            if request.future.done():
                self._withdraw(request)
                continue
            request.waiting -= 1
            batch.append(entry)
        self._waiting -= len(batch)
        return batch

    def _start(self, run: Run[Item, Answer], turn: list[list[_Entry[Item, Answer]]]) -> None:
        batches = [[request.items[index] for request, index in batch] for batch in turn]
        run(batches, partial(self._finish, run, turn))

    def _finish(
        self, run: Run[Item, Answer], turn: list[list[_Entry[Item, Answer]]], ran: list[Ran[Answer]]
    ) -> None:
        self._idle.append(run)
        for batch, each in zip(turn, ran, strict=True):
            self._learn_pace(each.took_s / len(batch))
            self._answer(batch, each)
        self._pump()
        self._note_drained()

    def _answer(self, batch: list[_Entry[Item, Answer]], ran: Ran[Answer]) -> None:
        answers = ran.answers
        for place, (request, index) in enumerate(batch):
            if request.future.done():
                continue
            if isinstance(answers, Exception):
                request.future.set_exception(answers)
                self._withdraw(request)
            else:
                request.take(index, answers[place], ran, len(batch))

    def _learn_pace(self, per_item_s: float) -> None:
        weight = _NEWEST if self._per_item_s else 1.0
        self._per_item_s += weight * (per_item_s - self._per_item_s)

    def _expire(self, request: _Request[Item, Answer]) -> None:
        if not request.future.done():
            waited_ms = 1e3 * (self._clock() - request.arrived_s)
            problem = f"The request expired after {waited_ms:.0f} ms."
            request.future.set_exception(DeadlineError(problem, "Allow it more time, or lower the load."))
            self._withdraw(request)

    def _ended(self, request: _Request[Item, Answer], _: asyncio.Future[Answered[Answer]]) -> None:
        if request.timer is not None:
            request.timer.cancel()
        self._withdraw(request)
        self._note_drained()

    def _withdraw(self, request: _Request[Item, Answer]) -> None:
        """Forget the items that an ended request still has in the queue, and let go of their memory."""
        if not request.waiting:
            return
        self._waiting -= request.waiting
        request.waiting = 0
        request.items = ()
        if len(self._queue) > 2 * self._waiting + len(self._runs):
            self._queue = deque(entry for entry in self._queue if not entry[0].future.done())

    def _note_drained(self) -> None:
        if not self._waiting and len(self._idle) == len(self._runs):
            self._drained.set()

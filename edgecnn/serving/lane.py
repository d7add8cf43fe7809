"""One engine and what drives it: batches go in, rows of scores come out on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter, perf_counter_ns
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecnn.engines import Engine
from edgecnn.errors import EdgecnnError
from edgecnn.preprocess import normalise
from edgecnn.serving.batch_sizes import BatchSizes
from edgecnn.serving.faults import ServerFailureError
from edgecnn.serving.loop_threads import LoopThreads
from edgecnn.serving.turn import Done, Ran

__all__ = ["BatchCall", "BatchRun", "Image", "InlineLane", "Lane", "Row", "ThreadLane"]

#: One image: (C, H, W) of the model's own dtype, or (H, W, C) uint8 pixels.
Image = NDArray[Any]


class Row(NamedTuple):
    """The answer to one image.

    Attributes:
        scores: (classes,) float32.
        input_ns: what putting its batch together took.
        infer_ns: what the engine took for its batch.
    """

    scores: NDArray[np.float32]
    input_ns: int
    infer_ns: int


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One run of an engine: images, and nanoseconds of putting the batch together and of the engine."""

    images: int
    input_ns: int
    infer_ns: int


class BatchCall:
    """One engine's calls: batches are put together, filled up to a size that is run, and taken apart."""

    def __init__(self, engine: Engine, sizes: BatchSizes) -> None:
        """The caller keeps and closes the engine.

        Args:
            engine: open.
            sizes: which batches are run.
        """
        self._engine = engine
        self._sizes = sizes
        self._buffers: dict[int, NDArray[Any]] = {}

    def turn(self, batches: list[list[Image]]) -> list[Ran[Row]]:
        """Run batches, each of at most the largest size, one after the other.

        Returns:
            For each its rows, one for each image, or :class:`ServerFailureError`; times by ``perf_counter``.
        """
        return [self._ran(images) for images in batches]

    def _ran(self, images: list[Image]) -> Ran[Row]:
        begun_s = perf_counter()
        try:
            answers: Sequence[Row] | Exception = self._rows(images)
        except ServerFailureError as error:
            answers = error
        return Ran(answers, begun_s, perf_counter() - begun_s)

    def _rows(self, images: list[Image]) -> list[Row]:
        try:
            begun = perf_counter_ns()
            batch = self._batch(images)
            ready = perf_counter_ns()
            scores = self._engine.run(batch)
            ended = perf_counter_ns()
        except EdgecnnError as error:
            raise ServerFailureError(error.problem, error.remedy) from error
        except Exception as error:  # whatever it is, somebody waits for the answer
            problem = f"The engine failed: {type(error).__name__}: {error}."
            raise ServerFailureError(problem, "See the server's log.") from error
        return [Row(scores[place], ready - begun, ended - ready) for place in range(len(images))]

    def _batch(self, images: list[Image]) -> NDArray[Any]:
        size = self._sizes.padded(len(images))
        wanted = self._engine.spec.input
        if size == 1 and images[0].dtype == wanted.dtype and images[0].flags.carray:
            return images[0][np.newaxis]
        batch = self._buffer(size)
        for row, image in zip(batch, images, strict=False):
            if image.dtype == row.dtype:
                row[...] = image
            elif row.dtype == np.float32:
                normalise(image, self._engine.spec.preprocess, out=row)
            else:
                row[...] = normalise(image, self._engine.spec.preprocess)
        return batch

    def _buffer(self, size: int) -> NDArray[Any]:
        """The batch that is filled anew each time; an engine needs its input only until it returns."""
        if size not in self._buffers:
            wanted = self._engine.spec.input
            shape = (size, *(side for side in wanted.shape[1:] if isinstance(side, int)))
            self._buffers[size] = np.zeros(shape, wanted.dtype)
        return self._buffers[size]


class Lane(Protocol):
    """Where a batcher sends batches: those of one turn at a time."""

    def run(self, batches: list[list[Image]], done: Done[Row]) -> None:
        """Run batches one after the other; ``done`` is told later, on the event loop, what became of them."""

    def close(self) -> None:
        """End, after what it was given."""


class ThreadLane:
    """Runs batches one after the other in a thread of its own, so that the event loop never waits."""

    def __init__(self, call: BatchCall, observe: Callable[[BatchRun], None]) -> None:
        """Start the thread.

        Args:
            call: of an engine that allows parallel runs, if other lanes use it as well.
            observe: told of each batch, on the event loop.
        """
        self._call = call
        self._observe = observe
        self._thread = LoopThreads(1, f"edgecnn-lane-{id(self):x}")

    def run(self, batches: list[list[Image]], done: Done[Row]) -> None:
        """As :meth:`Lane.run`."""
        self._thread.post(partial(self._call.turn, batches), partial(_finish, self._observe, done))

    def close(self) -> None:
        """As :meth:`Lane.close`; waits for it."""
        self._thread.close()


class InlineLane:
    """Runs batches on the event loop itself.

    For calls that are shorter than what handing them to a thread and back costs: two wake-ups, and caches
    that were filled on another core.
    """

    def __init__(self, call: BatchCall, observe: Callable[[BatchRun], None]) -> None:
        """As a :class:`ThreadLane`, without a thread."""
        self._call = call
        self._observe = observe
        self._loop = asyncio.get_running_loop()

    def run(self, batches: list[list[Image]], done: Done[Row]) -> None:
        """As :meth:`Lane.run`; they have been run when it returns."""
        self._loop.call_soon(_finish, self._observe, done, self._call.turn(batches))

    def close(self) -> None:
        """Nothing is left to end."""


def _finish(observe: Callable[[BatchRun], None], done: Done[Row], ran: list[Ran[Row]]) -> None:
    """Report the batches that have rows, and hand over what became of all."""
    done(ran)
    for each in ran:
        rows = each.answers
        if not isinstance(rows, Exception):
            observe(BatchRun(len(rows), rows[0].input_ns, rows[0].infer_ns))

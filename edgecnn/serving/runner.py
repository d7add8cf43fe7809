"""A model that is open and warm: its engines, their threads, and the batcher in front of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from edgecnn.artifact import Artifact
from edgecnn.engines import Engine
from edgecnn.engines.choice import open_choice, parse_choice
from edgecnn.serving.batcher import Batcher, BatcherSettings
from edgecnn.serving.lane import BatchCall, BatchRun, Image, InlineLane, Lane, Row, ThreadLane
from edgecnn.serving.layout import Layout

__all__ = ["Runner", "open_runner"]

#: Seconds that the batches may take together which an engine with a thread of its own is given at once. Who
#: waits behind so many others waits longer than that; a request that expires meanwhile was run for nothing.
_TURN_S = 0.03

#: Of each size on each lane: the first run allocates, and some engines compile.
_WARM_RUNS = 2


class Runner:
    """An open model. ``batcher`` takes its images."""

    def __init__(
        self,
        artifact: Artifact,
        layout: Layout,
        engines: tuple[Engine, ...],
        settings: BatcherSettings,
        observe: Callable[[BatchRun], None],
    ) -> None:
        """Start the lanes on the running event loop; the engines belong to the runner from now on."""
        self.artifact = artifact
        self.layout = layout
        self.info = engines[0].info
        self._engines = engines
        lane, turn_s = (InlineLane, 0.0) if layout.inline else (ThreadLane, _TURN_S)
        self._lanes: list[Lane] = [
            lane(BatchCall(engines[place % len(engines)], layout.batch_sizes), observe)
            for place in range(layout.instances)
        ]
        runs = [lane.run for lane in self._lanes]
        self.batcher = Batcher[Image, Row](runs, replace(settings, turn_s=turn_s))

    async def close(self) -> None:
        """Answer what was taken, then free everything."""
        await self.batcher.close()
        await asyncio.to_thread(self._free)

    def _free(self) -> None:
        with ExitStack() as stack:
            for engine in self._engines:
                stack.callback(engine.close)
            for lane in self._lanes:
                lane.close()


async def open_runner(
    artifact: Artifact,
    layout: Layout,
    settings: BatcherSettings,
    observe: Callable[[BatchRun], None],
) -> Runner:
    """Open the engines of a layout, and run every batch that may be formed on each of them.

    Raises:
        EngineUnavailableError: the engine cannot open on this machine.
        EngineError: the model does not open in it, or does not run.
    """
    engines = await asyncio.to_thread(_open_warm, artifact, layout)
    return Runner(artifact, layout, engines, settings, observe)


def _open_warm(artifact: Artifact, layout: Layout) -> tuple[Engine, ...]:
    choice = parse_choice(layout.engine)
    with ExitStack() as stack:
        engines = [stack.enter_context(open_choice(choice, artifact))]
        # One engine that lets calls run side by side, each in its caller's thread, holds the weights once.
        shared = engines[0].info.parallel_runs and engines[0].info.threads == 1
        more = 0 if shared else layout.instances - 1
        engines += [stack.enter_context(open_choice(choice, artifact)) for _ in range(more)]
        for engine in engines:
            _warm(engine, layout)
        stack.pop_all()  # nothing failed: they stay open
        return tuple(engines)


def _warm(engine: Engine, layout: Layout) -> None:
    wanted = engine.spec.input
    sides = [side for side in wanted.shape[1:] if isinstance(side, int)]
    for size in layout.sizes:
        batch = np.zeros((size, *sides), wanted.dtype)
        for _ in range(_WARM_RUNS):
            engine.run(batch)

"""One stream of a GPU with the buffers and contexts of a plan, for one run after the other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecnn.engines.base import Batch
from edgecnn.engines.cuda.graph import create_stream, record_graph
from edgecnn.engines.cuda.memory import mirrored
from edgecnn.engines.cuda.runtime import CudaRuntime
from edgecnn.engines.cuda.scope import Scope
from edgecnn.engines.plan_source import OpenedPlan
from edgecnn.errors import EngineError

__all__ = ["Contexts", "PlanLane"]

#: CUDA graphs that one lane keeps: all the batch sizes that a server forms, usually.
_KEPT_GRAPHS = 32


class Contexts(Protocol):
    """Makes the execution contexts of one lane, which never run at the same time."""

    #: Whether runs may be captured into CUDA graphs, each with a context of its own.
    recordable: bool

    def new(self) -> Any:  # noqa: ANN401 - TensorRT has no types
        """An ``IExecutionContext``.

        Raises:
            EngineError: TensorRT gives none.
        """


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A CUDA graph of one batch size, and the context that it was captured from."""

    executable: int
    context: Any
    scope: Scope


class PlanLane:
    """Runs batches of any size within the plan's profile, one at a time.

    With recorded runs, copies and kernels of a batch size are one CUDA graph, captured when the size is first
    run. A graph is valid only as long as nobody changes the context that it was captured from (TensorRT's
    documentation on CUDA graphs), so that each has a context of its own; all share the lane's memory.
    """

    def __init__(self, cuda: CudaRuntime, scope: Scope, plan: OpenedPlan, contexts: Contexts) -> None:
        """Acquire everything but the graphs; ``scope`` releases it, and the graphs.

        Raises:
            EngineError: not enough memory, or CUDA or TensorRT fail.
        """
        model = plan.model
        self._cuda, self._plan, self._model, self._contexts = cuda, plan, model, contexts
        self._stream = create_stream(cuda, scope)
        self._input = mirrored(cuda, scope, model.input.shape(model.most), model.input.dtype)
        self._output = mirrored(cuda, scope, model.output.shape(model.most), model.output.dtype)
        self._recorded: OrderedDict[int, _Recorded] = OrderedDict()
        self._context: Any = None
        self._shaped = 0
        scope.on_close(self._drop_contexts)
        if not contexts.recordable:
            self._context = self._new_context()

    def run(self, batch: Batch) -> NDArray[Any]:
        """Copy in, run, copy out; a new array.

        Raises:
            EngineError: CUDA or TensorRT fail.
        """
        return self._turn(batch, self._replay if self._contexts.recordable else self._queue_plain)

    def copy(self, batch: Batch) -> NDArray[Any]:
        """The copies of ``run`` alone; what comes back, an earlier run has left there.

        Raises:
            EngineError: CUDA fails.
        """
        return self._turn(batch, self._queue_copies)

    def _turn(self, batch: Batch, queue: Callable[[int], None]) -> NDArray[Any]:
        images = len(batch)
        np.copyto(self._input.host[:images], batch)
        try:
            queue(images)
            self._cuda.synchronise(self._stream)
        except BaseException:
            self._recover()
            raise
        return self._output.host[:images].copy()

    def _replay(self, images: int) -> None:
        recorded = self._recorded.get(images) or self._record(images)
        self._recorded.move_to_end(images)
        self._cuda.launch(recorded.executable, self._stream)

    def _record(self, images: int) -> _Recorded:
        if len(self._recorded) >= _KEPT_GRAPHS:
            _, oldest = self._recorded.popitem(last=False)
            oldest.scope.close()
        context = self._new_context()
        self._set_shape(context, images)
        work = partial(self._queue, context, images)
        work()  # TensorRT does once what a new shape asks for; that must not become part of the graph
        self._cuda.synchronise(self._stream)
        with Scope() as scope:
            executable = self._graph(scope, work)
            recorded = self._recorded[images] = _Recorded(executable, context, scope.hand_over())
        return recorded

    def _graph(self, scope: Scope, work: Callable[[], object]) -> int:
        try:
            return record_graph(self._cuda, scope, self._stream, work)
        except EngineError as error:
            raise EngineError(
                error.problem, f"It may run without a CUDA graph: graph=off. {error.remedy}"
            ) from error

    def _queue_plain(self, images: int) -> None:
        if images != self._shaped:
            self._set_shape(self._context, images)
            self._shaped = images
        self._queue(self._context, images)

    def _new_context(self) -> Any:  # noqa: ANN401 - TensorRT has no types
        context = self._contexts.new()
        for port, memory in ((self._model.input, self._input), (self._model.output, self._output)):
            if not context.set_tensor_address(port.name, memory.device):
                raise self._failure(f"TensorRT does not take the memory for {port.name}")
        return context

    def _set_shape(self, context: Any, images: int) -> None:  # noqa: ANN401 - likewise
        taken = self._model.input
        if not context.set_input_shape(taken.name, taken.shape(images)):
            raise self._failure(f"TensorRT does not take a batch of {images}")

    def _queue(self, context: Any, images: int) -> None:  # noqa: ANN401 - likewise
        self._queue_in(images)
        if not context.execute_async_v3(self._stream):
            raise self._failure("TensorRT does not run the model")
        self._queue_out(images)

    def _queue_copies(self, images: int) -> None:
        self._queue_in(images)
        self._queue_out(images)

    def _queue_in(self, images: int) -> None:
        pair = self._input
        self._cuda.copy_to_device(pair.device, pair.host.ctypes.data, pair.bytes_of(images), self._stream)

    def _queue_out(self, images: int) -> None:
        pair = self._output
        self._cuda.copy_to_host(pair.host.ctypes.data, pair.device, pair.bytes_of(images), self._stream)

    def _failure(self, what: str) -> EngineError:
        return EngineError(
            f"{self._model.origin}: {what}: {self._plan.said()}.",
            "If memory is short, run smaller batches or fewer streams; else build the plan again.",
        )

    def _recover(self) -> None:
        """After a failure, let nothing that was queued before it touch the buffers of the next run."""
        self._shaped = 0
        with suppress(EngineError):  # the failure under way is what the caller has to know
            self._cuda.synchronise(self._stream)

    def _drop_contexts(self) -> None:
        """Contexts first, then the memory that they use."""
        dropped, self._recorded, self._context = self._recorded, OrderedDict(), None
        with Scope() as scope:
            for recorded in dropped.values():
                scope.on_close(recorded.scope.close)

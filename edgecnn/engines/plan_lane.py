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
from edgecnn.engines.plan_model import PlanModel
from edgecnn.errors import EngineError

__all__ = ["Contexts", "Lane"]

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

    def complaints(self) -> str:
        """What TensorRT has said of errors since it was last asked, in one line; "" for nothing."""


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A CUDA graph of one batch size."""

    executable: int
    scope: Scope


class Lane:
    """Runs batches of any size within the plan's profile, one at a time.

    With recorded runs, copies and kernels of a batch size are one CUDA graph, captured when the size is first
    run. A graph is valid only as long as nobody changes the context that it was captured from (TensorRT's
    documentation on CUDA graphs), so that each has a context of its own; all share the lane's memory.
    """

    def __init__(self, cuda: CudaRuntime, scope: Scope, model: PlanModel, contexts: Contexts) -> None:
        """Acquire everything but the graphs; ``scope`` releases it, and the graphs.

        Raises:
            EngineError: not enough memory, or CUDA or TensorRT fail.
        """
        self._cuda, self._model, self._contexts = cuda, model, contexts
        self._stream = create_stream(cuda, scope)
        self._input = mirrored(cuda, scope, model.input.shape(model.most), model.input.dtype)
        self._output = mirrored(cuda, scope, model.output.shape(model.most), model.output.dtype)
        self._recorded: OrderedDict[int, _Recorded] = OrderedDict()
        scope.on_close(self._forget_all)
        self._context: Any = None if contexts.recordable else self._bound(contexts.new())
        self._shaped = 0

    def run(self, batch: Batch) -> NDArray[Any]:
        """Copy in, run, copy out; a new array.

        Raises:
            EngineError: CUDA or TensorRT fail.
        """
        images = len(batch)
        try:
            if self._contexts.recordable:
                work = partial(self._cuda.launch, self._recording(images).executable, self._stream)
            else:
                work = partial(self._queue, self._shape(self._context, images), images)
            return self._turn(batch, work)
        except BaseException:
            self._shaped = 0
            self._drain()
            raise

    def copy(self, batch: Batch) -> NDArray[Any]:
        """The copies of ``run`` alone; what comes back, an earlier run has left there.

        Raises:
            EngineError: CUDA fails.
        """
        images = len(batch)

        def both() -> None:
            self._queue_in(images)
            self._queue_out(images)

        return self._turn(batch, both)

    def _turn(self, batch: Batch, work: Callable[[], object]) -> NDArray[Any]:
        images = len(batch)
        np.copyto(self._input.host[:images], batch)
        work()
        self._cuda.synchronise(self._stream)
        return self._output.host[:images].copy()

    def _recording(self, images: int) -> _Recorded:
        found = self._recorded.get(images)
        if found is None:
            if len(self._recorded) >= _KEPT_GRAPHS:
                _, oldest = self._recorded.popitem(last=False)
                oldest.scope.close()
            found = self._recorded[images] = self._record(images)
        self._recorded.move_to_end(images)
        return found

    def _record(self, images: int) -> _Recorded:
        with Scope() as scope:
            context = self._shape(self._bound(self._contexts.new()), images)
            scope.on_close(partial(_Held(context).drop))
            work = partial(self._queue, context, images)
            work()  # TensorRT does once what a new shape asks for; that must not become part of the graph
            self._cuda.synchronise(self._stream)
            try:
                executable = record_graph(self._cuda, scope, self._stream, work)
            except EngineError as error:
                raise EngineError(
                    f"The run of a batch of {images} cannot be recorded as a CUDA graph: {error.problem}",
                    f"Open it without: graph=off. {error.remedy}",
                ) from error
            return _Recorded(executable, scope.hand_over())

    def _bound(self, context: Any) -> Any:  # noqa: ANN401
        for name, memory in ((self._model.input.name, self._input), (self._model.output.name, self._output)):
            if not context.set_tensor_address(name, memory.device):
                raise self._failure(f"TensorRT does not take the memory for {name}")
        return context

    def _shape(self, context: Any, images: int) -> Any:  # noqa: ANN401
        taken = self._model.input
        if images != self._shaped or self._contexts.recordable:
            if not context.set_input_shape(taken.name, taken.shape(images)):
                raise self._failure(f"TensorRT does not take a batch of {images}")
            self._shaped = images
        return context

    def _queue(self, context: Any, images: int) -> None:  # noqa: ANN401
        self._queue_in(images)
        if not context.execute_async_v3(self._stream):
            raise self._failure("TensorRT does not run the model")
        self._queue_out(images)

    def _queue_in(self, images: int) -> None:
        pair = self._input
        self._cuda.copy_to_device(pair.device, pair.host.ctypes.data, pair.bytes_of(images), self._stream)

    def _queue_out(self, images: int) -> None:
        pair = self._output
        self._cuda.copy_to_host(pair.host.ctypes.data, pair.device, pair.bytes_of(images), self._stream)

    def _failure(self, what: str) -> EngineError:
        said = self._contexts.complaints() or "it says nothing more"
        return EngineError(
            f"{self._model.origin}: {what}: {said}.",
            "If memory is short, run smaller batches or fewer streams; else build the plan again.",
        )

    def _drain(self) -> None:
        """After a failure, let nothing that was queued before it touch the buffers of the next run."""
        with suppress(EngineError):  # the failure under way is what the caller has to know
            self._cuda.synchronise(self._stream)

    def _forget_all(self) -> None:
        with Scope() as scope:
            for recorded in self._recorded.values():
                scope.on_close(recorded.scope.close)
            self._recorded.clear()
            self._context = None

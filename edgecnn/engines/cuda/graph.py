"""CUDA graphs: work that is recorded once and launched as a whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from edgecnn.engines.cuda.runtime import CudaRuntime
from edgecnn.engines.cuda.scope import Scope

__all__ = ["create_stream", "record_graph"]


def create_stream(cuda: CudaRuntime, scope: Scope) -> int:
    """A stream that ``scope`` destroys."""
    stream = cuda.create_stream()
    scope.on_close(partial(cuda.destroy_stream, stream))
    return stream


def record_graph(cuda: CudaRuntime, scope: Scope, stream: int, work: Callable[[], object]) -> int:
    """Record what ``work`` queues in ``stream``, without running it.

    Args:
        cuda: where.
        scope: destroys what is returned.
        stream: idle.
        work: queues copies and kernels, and neither allocates nor waits.

    Returns:
        What :meth:`edgecnn.engines.cuda.runtime.CudaRuntime.launch` takes.

    Raises:
        EngineError: ``work`` failed, or cannot be recorded.
    """
    with Scope() as recording:
        graph = _recorded(cuda, stream, work)
        recording.on_close(partial(cuda.destroy_graph, graph))
        executable = cuda.instantiate(graph)
        scope.on_close(partial(cuda.destroy_executable, executable))
    return executable


def _recorded(cuda: CudaRuntime, stream: int, work: Callable[[], object]) -> int:
    with Scope() as capture:
        cuda.begin_capture(stream)
        # A stream that stays in capture refuses everything else, so it has to end after a failure as well.
        capture.on_close(lambda: cuda.destroy_graph(cuda.end_capture(stream)))
        work()
        capture.hand_over()
    return cuda.end_capture(stream)

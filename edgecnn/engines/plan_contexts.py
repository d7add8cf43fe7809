"""How execution contexts are made, in TensorRT and in TensorRT for RTX."""

from __future__ import annotations

from typing import Any

from edgecnn.engines.cuda.memory import device_memory
from edgecnn.engines.cuda.runtime import CudaRuntime
from edgecnn.engines.cuda.scope import Scope
from edgecnn.engines.plan_source import OpenedPlan
from edgecnn.errors import EngineError

__all__ = ["JitContexts", "SharedMemoryContexts"]

#: What CUDA aligns memory to, and TensorRT wants for activations.
_LEAST_BYTES = 256


class SharedMemoryContexts:
    """TensorRT's: they work in one piece of memory in turn, which is the lane's and not TensorRT's own."""

    def __init__(self, cuda: CudaRuntime, scope: Scope, plan: OpenedPlan, *, graphs: bool) -> None:
        """Acquire the memory; ``scope`` frees it.

        Raises:
            EngineError: there is not enough.
        """
        self.recordable = graphs
        self._plan = plan
        self._bytes = max(plan.model.activation_bytes, _LEAST_BYTES)
        self._memory = device_memory(cuda, scope, self._bytes)

    def new(self) -> Any:  # noqa: ANN401 - TensorRT has no types
        """See :class:`edgecnn.engines.plan_lane.Contexts`."""
        strategy = self._plan.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = _made(self._plan, strategy)
        context.set_device_memory(self._memory, self._bytes)
        return context


class JitContexts:
    """TensorRT for RTX's: it compiles kernels at the first run of a shape, and records CUDA graphs itself."""

    recordable = False

    def __init__(self, plan: OpenedPlan, *, graphs: bool) -> None:
        self._plan, self._graphs = plan, graphs

    def new(self) -> Any:  # noqa: ANN401 - likewise
        """See :class:`edgecnn.engines.plan_lane.Contexts`."""
        strategies = self._plan.trt.CudaGraphStrategy
        settings = self._plan.model.engine.create_runtime_config()
        settings.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if self._graphs else strategies.DISABLED
        return _made(self._plan, settings)


def _made(plan: OpenedPlan, how: object) -> Any:  # noqa: ANN401 - likewise
    context = plan.model.engine.create_execution_context(how)
    if context is None:
        raise EngineError(
            f"{plan.model.origin}: TensorRT makes no execution context: {plan.said()}.",
            "If memory is short, open fewer streams or build the plan for smaller batches (--batch).",
        )
    return context

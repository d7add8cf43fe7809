"""NVIDIA TensorRT 10.3 and later."""

from __future__ import annotations

from typing import Any, ClassVar

from edgecnn.engines import ENGINES
from edgecnn.engines.cuda.memory import device_memory
from edgecnn.engines.cuda.runtime import CudaRuntime
from edgecnn.engines.cuda.scope import Scope
from edgecnn.engines.plan_engine import PlanEngine
from edgecnn.engines.plan_lane import Contexts
from edgecnn.engines.plan_source import OpenedPlan
from edgecnn.plans.flavour import TRT

__all__ = ["TrtEngine"]

#: What CUDA aligns memory to, and TensorRT wants for activations.
_LEAST_BYTES = 256


class TrtEngine(PlanEngine):
    """Runs TensorRT plans, and ONNX files by way of one; see :class:`PlanEngine`."""

    flavour = TRT
    understands: ClassVar[frozenset[str]] = ENGINES["trt"].understands

    def _contexts(self, cuda: CudaRuntime, scope: Scope, plan: OpenedPlan, *, graphs: bool) -> Contexts:
        return _SharedMemoryContexts(cuda, scope, plan, graphs=graphs)


class _SharedMemoryContexts:
    """They work in one piece of memory in turn, which is the lane's and not TensorRT's own."""

    def __init__(self, cuda: CudaRuntime, scope: Scope, plan: OpenedPlan, *, graphs: bool) -> None:
        self.recordable = graphs
        self._plan = plan
        self._bytes = max(plan.model.activation_bytes, _LEAST_BYTES)
        self._memory = device_memory(cuda, scope, self._bytes)

    def new(self) -> Any:  # noqa: ANN401 - TensorRT has no types
        trt = self._plan.trt
        context = self._plan.new_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        context.set_device_memory(self._memory, self._bytes)
        return context

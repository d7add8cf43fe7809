"""NVIDIA TensorRT for RTX 1.x: GeForce and other RTX GPUs."""

from __future__ import annotations

from typing import Any, ClassVar

from edgecnn.engines import ENGINES
from edgecnn.engines.cuda.runtime import CudaRuntime
from edgecnn.engines.cuda.scope import Scope
from edgecnn.engines.plan_engine import PlanEngine
from edgecnn.engines.plan_lane import Contexts
from edgecnn.engines.plan_source import OpenedPlan
from edgecnn.plans.flavour import TRT_RTX

__all__ = ["TrtRtxEngine"]


class TrtRtxEngine(PlanEngine):
    """Runs plans of TensorRT for RTX, and ONNX files by way of one; see :class:`PlanEngine`.

    Its plans hold no finished kernels: those of a shape are compiled on this GPU when it is first run.
    """

    flavour = TRT_RTX
    understands: ClassVar[frozenset[str]] = ENGINES["trt-rtx"].understands

    def _contexts(self, cuda: CudaRuntime, scope: Scope, plan: OpenedPlan, *, graphs: bool) -> Contexts:
        return _JitContexts(plan, graphs=graphs)


class _JitContexts:
    """They record CUDA graphs themselves, and have memory of their own."""

    recordable = False

    def __init__(self, plan: OpenedPlan, *, graphs: bool) -> None:
        self._plan, self._graphs = plan, graphs

    def new(self) -> Any:  # noqa: ANN401 - TensorRT has no types
        strategies = self._plan.trt.CudaGraphStrategy
        settings = self._plan.model.engine.create_runtime_config()
        settings.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if self._graphs else strategies.DISABLED
        return self._plan.new_context(settings)

"""NVIDIA TensorRT 10.3 and later."""

from __future__ import annotations

from typing import ClassVar

from edgecnn.engines import ENGINES
from edgecnn.engines.cuda.runtime import CudaRuntime
from edgecnn.engines.cuda.scope import Scope
from edgecnn.engines.plan_contexts import SharedMemoryContexts
from edgecnn.engines.plan_engine import PlanEngine
from edgecnn.engines.plan_lane import Contexts
from edgecnn.engines.plan_source import OpenedPlan
from edgecnn.plans.flavour import TRT

__all__ = ["TrtEngine"]


class TrtEngine(PlanEngine):
    """Runs TensorRT plans, and ONNX files by way of one; see :class:`PlanEngine`."""

    flavour = TRT
    understands: ClassVar[frozenset[str]] = ENGINES["trt"].understands

    def _contexts(self, cuda: CudaRuntime, scope: Scope, plan: OpenedPlan, *, graphs: bool) -> Contexts:
        return SharedMemoryContexts(cuda, scope, plan, graphs=graphs)

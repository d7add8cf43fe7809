"""TensorRT plans: built from ONNX in a process of their own, kept with their spec, read back with care."""

from edgecnn.plans.plan import Plan, read_plan
from edgecnn.plans.spec import PlanSpec

__all__ = ["Plan", "PlanSpec", "read_plan"]

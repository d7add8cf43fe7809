"""From an artifact to an engine that TensorRT has opened: the plan is checked first, or built."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from edgecnn.artifact import Artifact, is_plan
from edgecnn.cuda_driver import Gpu
from edgecnn.engines.base import EngineOptions
from edgecnn.engines.plan_model import PlanModel, read_model
from edgecnn.errors import EngineError, UsageError
from edgecnn.plans import Plan, read_plan
from edgecnn.plans.cached import cached_plan
from edgecnn.plans.check import rebuild_command, require_usable
from edgecnn.plans.flavour import Flavour
from edgecnn.plans.here import Here, this_os
from edgecnn.plans.layers import layers_of_inspector, shortfall
from edgecnn.plans.logger import BuildLog, attach_log
from edgecnn.plans.options import BuildOptions
from edgecnn.plans.spec import Batches

__all__ = ["OpenedPlan", "open_plan"]

_LOG = logging.getLogger(__name__)

_SILENT = "it does not say why"

#: "[checkMacros.cpp::catchCudaError::250] ", and "In catchCudaError at /_src/common/checkMacros.cpp:250".
_PLACE_IN_CODE = re.compile(r"\[\w+\.cpp::\w+::\d+\] |In \w+ at \S+:\d+ ?")


@dataclass(frozen=True, slots=True)
class OpenedPlan:
    """A plan that TensorRT has opened.

    Attributes:
        plan: on the disk.
        trt: the package.
        model: TensorRT's engine, and what that takes and gives.
        log: what TensorRT says from now on.
        kept: objects of TensorRT that have to live as long as the engine.
    """

    plan: Plan
    trt: ModuleType
    model: PlanModel
    log: BuildLog
    kept: tuple[Any, ...]

    def said(self) -> str:
        """The last error that TensorRT logged."""
        return _said(self.log)

    def new_context(self, how: object) -> Any:  # noqa: ANN401 - TensorRT has no types
        """An execution context.

        Args:
            how: an allocation strategy, or a runtime configuration.

        Raises:
            EngineError: TensorRT makes none.
        """
        context = self.model.engine.create_execution_context(how)
        if context is None:
            raise EngineError(
                f"{self.model.origin}: TensorRT makes no execution context: {self.said()}.",
                "If memory is short, open fewer streams or build the plan for smaller batches (--batch).",
            )
        return context


def open_plan(
    trt: ModuleType, flavour: Flavour, artifact: Artifact, options: EngineOptions, gpu: Gpu
) -> OpenedPlan:
    """Open ``artifact``, a plan or an ONNX file; of the latter, a plan is built, or found in the cache.

    Raises:
        UsageError: a precision that plans have not, or this plan has not.
        EngineUnavailableError: the plan is of another GPU, TensorRT or system.
        ArtifactError: it is damaged, or the ONNX file cannot be built.
        EngineError: TensorRT does not open it.
    """
    plan = read_plan(artifact.path) if is_plan(artifact.path) else _built(flavour, artifact, options)
    here = Here(
        flavour=flavour.name,
        tensorrt_version=str(trt.__version__),
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        os=this_os(),
    )
    require_usable(plan, here)
    if options.precision not in (None, plan.spec.precision):
        raise UsageError(
            f"{plan.path} is in {plan.spec.precision}, and precision={options.precision} is asked for.",
            "Leave the option out, or give the ONNX model instead of the plan.",
        )
    log = BuildLog()
    logger = attach_log(trt, log)
    runtime, engine = _deserialised(trt, logger, log, plan)
    _require_precision(trt, engine, plan)
    model = read_model(engine, plan.spec.model, str(plan.path))
    return OpenedPlan(plan, trt, model, log, (runtime, logger))


def _built(flavour: Flavour, artifact: Artifact, options: EngineOptions) -> Plan:
    size, precision = options.batch, options.precision
    if precision == "bf16":
        raise UsageError("edgecnn builds no plans in bf16.", "Say precision=fp32 or precision=fp16.")
    wanted = BuildOptions(
        flavour=flavour,
        precision=precision,
        batches=None if size is None else Batches(min=size, opt=size, max=size),
        device=options.device or 0,
    )
    announced = False

    def announce(*_: object) -> None:
        nonlocal announced
        if not announced:
            _LOG.warning(
                "%s builds a plan of %s; that can take minutes, and is kept for the next time.",
                flavour.title,
                artifact.path,
            )
        announced = True

    return cached_plan(artifact, wanted, announce)


def _deserialised(trt: ModuleType, logger: Any, log: BuildLog, plan: Plan) -> tuple[Any, Any]:  # noqa: ANN401 - no types
    """The runtime and the engine."""
    content = plan.content()
    try:
        runtime = trt.Runtime(logger)
    except TypeError as error:  # what pybind makes of a constructor that gives nothing
        raise _refused(log, plan) from error
    # Only edgecnn's own plans, whose hash agrees, get here; such a plan carries code that is run.
    if plan.spec.version_compatible:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise _refused(log, plan)
    return runtime, engine


def _require_precision(trt: ModuleType, engine: Any, plan: Plan) -> None:  # noqa: ANN401 - no types
    """A plan whose layers could not be listed where it was built is looked into now.

    Raises:
        EngineError: it computes in another precision than it was to.
    """
    spec = plan.spec
    if spec.layers_from != "nothing":
        return
    told = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    if missing := shortfall(spec.precision, spec.network_layers, layers_of_inspector(told)):
        raise EngineError(
            f"{plan.path} is not in {spec.precision}, as it should be: {missing}.",
            f"Build it again: {rebuild_command(spec)}",
        )


def _said(log: BuildLog) -> str:
    return " ".join(_PLACE_IN_CODE.sub("", log.last_error(_SILENT)).split())


def _refused(log: BuildLog, plan: Plan) -> EngineError:
    return EngineError(
        f"TensorRT does not open {plan.path}: {_said(log)}.",
        f"Free memory of the GPU, or build the plan again: {rebuild_command(plan.spec)}",
    )

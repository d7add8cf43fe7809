"""What the engines ``trt`` and ``trt-rtx`` have in common: they run TensorRT plans."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, ClassVar

from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.cuda_driver import Gpu, cuda_gpus
from edgecnn.engines import ENGINES
from edgecnn.engines.base import Batch, EngineInfo, EngineOptions, require_fit, require_understood
from edgecnn.engines.cuda.bindings import open_cuda
from edgecnn.engines.cuda.runtime import CudaRuntime
from edgecnn.engines.cuda.scope import Scope
from edgecnn.engines.opened import OpenEngine, closed_failure, fixed_spec
from edgecnn.engines.plan_lane import Contexts, PlanLane
from edgecnn.engines.plan_lanes import PlanLanes
from edgecnn.engines.plan_model import PlanModel
from edgecnn.engines.plan_source import OpenedPlan, open_plan
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.plans.flavour import Flavour, load
from edgecnn.spec import Precision

__all__ = ["PlanEngine"]


class PlanEngine(OpenEngine, ABC):
    """Runs a plan, or an ONNX file of which it builds one first: once, as plans are kept in the cache.

    ``run`` copies through pinned memory, in a stream of its own for each of ``options.streams`` calls at the
    same time; more calls wait their turn. It may be called from several threads. Each result is a new array.
    Unless ``options.graph`` is off, a batch size is recorded as a CUDA graph when it is first run.

    A plan that is built is in ``options.precision``, fp32 or fp16 (TensorFloat-32 is off in either), and with
    ``options.batch`` for that size alone.
    """

    flavour: ClassVar[Flavour]

    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        """Open the plan; the file is not needed any more afterwards.

        Raises:
            UsageError: an option that it does not understand.
            EngineUnavailableError: the GPU, its driver, TensorRT or cuda-bindings is missing, or too old.
            ArtifactError: the plan is damaged, or for another GPU or TensorRT, or the model cannot be built.
            EngineError: not enough memory, or CUDA or TensorRT fail.
        """
        name = self.flavour.name
        require_understood(name, ENGINES[name].understands, options)
        spec = fixed_spec(artifact, options.batch)
        trt, cuda, gpu = _machine(self.flavour, options.device or 0)
        with Scope() as scope:
            plan = open_plan(trt, self.flavour, artifact, options, gpu)
            _require_batch(plan.model, options.batch)
            lanes = []
            for _ in range(options.streams or 1):
                contexts = self._contexts(cuda, scope, plan, graphs=options.graph is not False)
                lanes.append(PlanLane(cuda, scope, plan, contexts))
            self._lanes = PlanLanes(cuda, options.device or 0, lanes, scope.hand_over())
        self._model = plan.model
        info = _info(self.flavour, trt, gpu, plan.plan.spec.precision, options.streams or 1)
        super().__init__(spec, info, self._infer)

    def copy_only(self, batch: Batch) -> None:
        """The copies of ``run``, as :class:`edgecnn.engines.base.CopyingEngine` says."""
        require_fit(batch, self.spec)
        self._with_lane(batch, PlanLane.copy)

    def close(self) -> None:
        """Free everything, when runs under way have ended. A second call does nothing.

        Raises:
            EngineError: CUDA fails to take something back; all the rest has been given back.
        """
        super().close()
        self._lanes.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except EngineError as failure:
            if error is None:
                raise
            error.add_note(f"Then closing failed: {failure.problem}")

    @classmethod
    def check(cls) -> EngineInfo:
        """What would run here.

        Raises:
            EngineUnavailableError: the GPU, its driver, TensorRT or cuda-bindings is missing, or too old.
        """
        trt, _, gpu = _machine(cls.flavour, 0)
        return _info(cls.flavour, trt, gpu, "fp32", 1)

    @abstractmethod
    def _contexts(self, cuda: CudaRuntime, scope: Scope, plan: OpenedPlan, *, graphs: bool) -> Contexts:
        """What makes the contexts of one lane."""

    def _infer(self, batch: Batch) -> NDArray[Any]:
        return self._with_lane(batch, PlanLane.run)

    def _with_lane(self, batch: Batch, work: Callable[[PlanLane, Batch], NDArray[Any]]) -> NDArray[Any]:
        _require_batch(self._model, len(batch))
        with self._lanes.one() as lane:
            if lane is None:
                raise closed_failure(self.info)
            return work(lane, batch)


def _machine(flavour: Flavour, index: int) -> tuple[ModuleType, CudaRuntime, Gpu]:
    """TensorRT, CUDA's runtime and the GPU, which is selected.

    Raises:
        EngineUnavailableError: one of them is missing, or too old.
    """
    trt = load(flavour)
    gpus = cuda_gpus()
    if index >= len(gpus):
        listing = ", ".join(f"{at} ({gpu.name})" for at, gpu in enumerate(gpus))
        raise EngineUnavailableError(f"There is no GPU {index}.", f"Those here are {listing}.")
    cuda = open_cuda(flavour.extra)
    cuda.device_count()  # where the driver is too old for the runtime, this says so
    cuda.select(index)
    return trt, cuda, gpus[index]


def _info(flavour: Flavour, trt: ModuleType, gpu: Gpu, precision: Precision, streams: int) -> EngineInfo:
    return EngineInfo(
        name=flavour.name,
        version=trt.__version__,
        device=gpu.name,
        threads=1,
        precision=precision,
        parallel_runs=True,
        streams=streams,
    )


def _require_batch(model: PlanModel, images: int | None) -> None:
    if images is None or model.least <= images <= model.most:
        return
    sizes = sorted({model.least, model.most, images})
    raise EngineError(
        f"The batch is {images}, and the plan of {model.origin} takes {model.least} to {model.most} images.",
        f"Build it for more sizes: edgecnn build MODEL.onnx --batch {','.join(map(str, sizes))} "
        f"(or open the ONNX model with batch={images}).",
    )

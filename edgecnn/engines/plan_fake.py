"""TensorRT without TensorRT, on the fake CUDA runtime, for tests of what runs plans.

No result is ever reported from it. It keeps the rules that are easy to break and hard to see on a GPU: shapes
and addresses before a run, one run before a capture, no change to a context that a graph was captured from.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from enum import Enum
from types import SimpleNamespace
from typing import Any, Literal
from weakref import WeakSet

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn.engines.base import Batch
from edgecnn.engines.cuda.fake import FakeCuda
from edgecnn.engines.fake import pixel_sums
from edgecnn.spec import ModelSpec

__all__ = ["FakeContext", "FakePlan", "FakeTensorRt", "Refusal"]

#: What TensorRT may refuse.
Refusal = Literal["runtime", "plan", "context", "address", "shape", "run"]


class FakePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a fake plan's file holds, as JSON.

    Attributes:
        input: name of the tensor.
        input_shape: -1 for an open batch.
        dtype: numpy's name of the input's type.
        output: name of the tensor.
        classes: length of the output.
        batches: smallest and largest of the profile.
        activation_bytes: memory that a run needs.
        layers: what the inspector says, a JSON text.
    """

    input: str
    input_shape: tuple[int, ...]
    dtype: str
    output: str
    classes: int
    batches: tuple[int, int]
    activation_bytes: int = 4096
    layers: str = '{"Layers": []}'

    @classmethod
    def of(cls, spec: ModelSpec, least: int, most: int, **others: Any) -> FakePlan:  # noqa: ANN401 - the fields
        """For models of ``spec``."""
        shape = tuple(-1 if isinstance(size, str) else size for size in spec.input.shape)
        return cls(
            input=spec.input.name,
            input_shape=shape,
            dtype=spec.input.dtype,
            output=spec.output.name,
            classes=len(spec.classes),
            batches=(least, most),
            **others,
        )

    def encode(self) -> bytes:
        """The file's content."""
        return msgspec.json.encode(self)


class _Strategy(Enum):
    STATIC = 0
    USER_MANAGED = 2


class _GraphStrategy(Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class _Format(Enum):
    JSON = 1


class _Logger:
    def __init__(self) -> None:
        """As TensorRT's, which has to be called."""


class FakeTensorRt:
    """What a test puts in place of the module ``tensorrt``.

    Attributes:
        contexts: that are alive.
        settings: that contexts were made with, in order: a strategy, or a runtime configuration.
        refusals: what fails from now on.
    """

    ILogger = _Logger
    ExecutionContextAllocationStrategy = _Strategy
    CudaGraphStrategy = _GraphStrategy
    LayerInformationFormat = _Format

    def __init__(
        self,
        cuda: FakeCuda,
        *,
        name: str = "tensorrt",
        version: str = "11.4.0",
        refusals: Container[Refusal] = (),
        scores: Callable[[Batch, int], NDArray[Any]] = pixel_sums,
    ) -> None:
        """Make one that runs on ``cuda`` and answers ``scores`` (of a batch and the number of classes)."""
        self.__name__, self.__version__ = name, version
        self.cuda, self.refusals, self.scores = cuda, refusals, scores
        self.contexts: WeakSet[FakeContext] = WeakSet()
        self.settings: list[object] = []

    def Runtime(self, logger: Any) -> _Runtime:  # noqa: N802, ANN401 - TensorRT's name; a subclass of ILogger
        """What opens plans."""
        if "runtime" in self.refusals:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return _Runtime(self, logger)


class _Runtime:
    def __init__(self, trt: FakeTensorRt, logger: Any) -> None:  # noqa: ANN401 - likewise
        self._trt, self._logger = trt, logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, content: bytes) -> _Engine | None:
        try:
            plan = msgspec.json.decode(content, type=FakePlan)
        except msgspec.DecodeError as error:
            self._logger.log(1, f"magicTag: {error}")
            return None
        if "plan" in self._trt.refusals:
            self._logger.log(1, "Error Code 1: the plan is refused")
            return None
        return _Engine(self._trt, plan, self._logger)


class _Engine:
    num_io_tensors = 2

    def __init__(self, trt: FakeTensorRt, plan: FakePlan, logger: Any) -> None:  # noqa: ANN401 - likewise
        self._trt, self._plan, self._logger = trt, plan, logger
        self.device_memory_size_v2 = plan.activation_bytes

    def get_tensor_name(self, index: int) -> str:
        return (self._plan.input, self._plan.output)[index]

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        dtype = self._plan.dtype if name == self._plan.input else "float32"
        return SimpleNamespace(name={"float32": "FLOAT", "float16": "HALF", "uint8": "UINT8"}[dtype])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        taken = self._plan.input_shape
        return taken if name == self._plan.input else (taken[0], self._plan.classes)

    def get_tensor_profile_shape(self, name: str, profile: int) -> tuple[tuple[int, ...], ...]:
        least, most = self._plan.batches
        return tuple((size, *self._plan.input_shape[1:]) for size in (least, most, most))

    def create_runtime_config(self) -> SimpleNamespace:
        return SimpleNamespace(cuda_graph_strategy=_GraphStrategy.DISABLED)

    def create_execution_context(self, settings: object) -> FakeContext | None:
        if "context" in self._trt.refusals:
            self._logger.log(1, "Error Code 2: OutOfMemory (no memory for the context)")
            return None
        self._trt.settings.append(settings)
        context = FakeContext(self._trt, self._plan, settings is _Strategy.USER_MANAGED)
        self._trt.contexts.add(context)
        return context

    def create_engine_inspector(self) -> SimpleNamespace:
        return SimpleNamespace(get_engine_information=lambda form: self._plan.layers)


class FakeContext:
    """An execution context: class k of an image is the sum of every so manieth of its pixels."""

    def __init__(self, trt: FakeTensorRt, plan: FakePlan, needs_memory: bool) -> None:
        self._trt, self._plan, self._needs_memory = trt, plan, needs_memory
        self._addresses: dict[str, int] = {}
        self._images: int | None = None
        self._version, self._ready = 0, -1

    def set_device_memory(self, memory: int, size: int) -> None:
        """Where a run may work."""
        self._trt.cuda.array(memory, (self._plan.activation_bytes,), np.dtype(np.int8))
        self._needs_memory = size < self._plan.activation_bytes

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Where a tensor lies."""
        self._version += 1
        self._addresses[name] = address
        return "address" not in self._trt.refusals

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """The next runs' shape."""
        least, most = self._plan.batches
        if "shape" in self._trt.refusals or not least <= shape[0] <= most:
            return False
        self._version += 1
        self._images = shape[0]
        return True

    def execute_async_v3(self, stream: int) -> bool:
        """Queue a run."""
        cuda, version = self._trt.cuda, self._version
        if (
            "run" in self._trt.refusals
            or self._needs_memory
            or self._images is None
            or len(self._addresses) < 2
        ):
            return False
        if cuda.capturing(stream) and self._ready != version:
            return False  # the first run after a change does what cannot be captured
        self._ready = version
        images = self._images
        cuda.kernel("enqueueV3", stream, lambda: self._compute(images, version))
        return True

    def _compute(self, images: int, version: int) -> None:
        plan, cuda = self._plan, self._trt.cuda
        batch = cuda.array(self._addresses[plan.input], (images, *plan.input_shape[1:]), np.dtype(plan.dtype))
        scores = cuda.array(self._addresses[plan.output], (images, plan.classes), np.dtype(np.float32))
        # A graph whose context has been changed since is undefined behaviour.
        scores[...] = self._trt.scores(batch, plan.classes) if version == self._version else np.nan

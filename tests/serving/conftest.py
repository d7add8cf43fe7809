"""A server of fakes for what speaks to it, and a real one for the clients of others."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.artifact import Artifact, save_artifact
from edgecnn.engines.fake import pixel_sums
from edgecnn.preprocess import normalise
from edgecnn.serving.faults import (
    BadRequestError,
    DeadlineError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

ModelOf = Callable[..., "FakeModel"]


def _spec_of(
    dtype: str = "float32",
    side: int = 8,
    classes: int = 10,
    in_graph: bool = False,
    batch: int | str = "batch",
) -> ModelSpec:
    shape = (batch, side, side, 3) if in_graph else (batch, 3, side, side)
    return ModelSpec(
        network="tiny",
        classes=tuple(f"class {index}" for index in range(classes)),
        input=TensorSpec(name="image", dtype=dtype, shape=shape),
        output=TensorSpec(name="logits", dtype="float32", shape=("batch", classes)),
        preprocess=Preprocess(resize=side, crop=(side, side), in_graph=in_graph),
        weights=WeightsId(kind="random", name="seed=0"),
    )


@dataclass
class FakeLayout:
    engine: str = "ort:threads=1"
    instances: int = 2
    threads: int | None = 1
    sizes: tuple[int, ...] = (1, 2)
    call_ms: dict[int, float] = field(default_factory=lambda: {1: 0.5, 2: 0.75})
    images_per_s: dict[int, float] = field(default_factory=lambda: {1: 4000.0, 2: 5000.5})


@dataclass
class FakeInference:
    scores: NDArray[np.float32]
    queue_ns: int = 1_000_000
    compute_ns: int = 2_000_000
    batches: tuple[int, ...] = (1,)


@dataclass
class FakeModel:
    """Answers with sums of pixels.

    Attributes:
        refusal: raised instead of an answer.
        delay_s: before an answer.
        cancelled: calls that were given up by who made them.
        deadlines: of every call.
        protocols: likewise.
    """

    spec: ModelSpec
    name: str = "tiny"
    version: str = "1"
    max_images: int = 4
    timeout_s: float = 5.0
    layout: FakeLayout = field(default_factory=FakeLayout)
    refusal: Exception | None = None
    delay_s: float = 0.0
    cancelled: int = 0
    deadlines: list[float | None] = field(default_factory=list)
    protocols: list[str] = field(default_factory=list)

    async def infer(
        self, images: Sequence[NDArray[Any]], deadline_s: float | None = None, *, protocol: str = "http"
    ) -> FakeInference:
        self.deadlines.append(deadline_s)
        self.protocols.append(protocol)
        left_s = np.inf if deadline_s is None else deadline_s - asyncio.get_running_loop().time()
        try:
            await asyncio.sleep(min(self.delay_s, left_s))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.delay_s > left_s:
            raise DeadlineError("The request waited too long.", "Give it more time.")
        if self.refusal is not None:
            raise self.refusal
        return FakeInference(self.scores(images))

    def scores(self, images: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """What it answers to ``images``."""
        return pixel_sums(np.stack([self._own(image) for image in images]), len(self.spec.classes))

    def _own(self, image: NDArray[Any]) -> NDArray[np.float32]:
        pixels = image.dtype == np.uint8 and self.spec.input.dtype != "uint8"
        return normalise(image, self.spec.preprocess) if pixels else image.astype(np.float32)

    async def decode(self, files: Sequence[bytes | memoryview]) -> list[NDArray[Any]]:
        """A file is the colour of all its pixels."""
        for index, file in enumerate(files):
            if len(file) != 1:
                raise BadRequestError(f"Image {index} is no image.", "Send one byte.")
        return [np.full((*self.spec.preprocess.crop, 3), bytes(file)[0], np.uint8) for file in files]


@dataclass
class FakeState:
    name: str
    version: str
    state: str = "READY"
    reason: str = ""


@dataclass
class FakeStatistics:
    name: str
    version: str
    last_inference_ms: int = 1_700_000_000_000
    inference_count: int = 5
    execution_count: int = 4
    success: tuple[int, int] = (3, 300)
    fail: tuple[int, int] = (1, 10)
    queue: tuple[int, int] = (3, 30)
    compute_input: tuple[int, int] = (3, 6)
    compute_infer: tuple[int, int] = (3, 200)
    compute_output: tuple[int, int] = (3, 9)
    batches: dict[int, tuple[int, int]] = field(default_factory=lambda: {2: (1, 80), 1: (3, 120)})


@dataclass
class FakeService:
    """One model, and a repository that holds another which is not ready."""

    served: FakeModel
    is_ready: bool = True
    control: bool = True
    calls: list[str] = field(default_factory=list)

    def live(self) -> bool:
        return True

    def ready(self) -> bool:
        return self.is_ready

    def ready_model(self, name: str, version: str | None = None) -> bool:
        if (name, version) == ("other", None):
            return False
        if name != self.served.name or version not in (None, self.served.version):
            raise NotFoundError(f"There is no model {name!r}.", "Ask for the index.")
        return True

    def index(self, ready_only: bool = False) -> list[FakeState]:
        states = [FakeState(self.served.name, self.served.version)]
        return states if ready_only else [*states, FakeState("other", "3", "UNAVAILABLE", "unloaded")]

    async def model(self, name: str, version: str | None = None) -> FakeModel:
        if not self.ready_model(name, version):
            raise UnavailableError(f"{name!r} is not ready.", "Ask for the index.")
        return self.served

    async def load(self, name: str) -> None:
        self._controlled("load", name)

    async def unload(self, name: str) -> None:
        self._controlled("unload", name)

    def _controlled(self, what: str, name: str) -> None:
        if not self.control:
            raise ForbiddenError("Models cannot be loaded from outside.", "Start with --model-control.")
        self.calls.append(f"{what} {name}")

    def statistics(self, name: str | None = None, version: str | None = None) -> list[FakeStatistics]:
        if name not in (None, self.served.name):
            raise NotFoundError(f"There is no model {name!r}.", "Ask for the index.")
        return [FakeStatistics(self.served.name, version or self.served.version)]


@pytest.fixture(scope="session")
def model_of() -> ModelOf:
    """Models by dtype, side, number of classes, whether they take (N, H, W, C) pixels, and batch."""
    return lambda **spec: FakeModel(_spec_of(**spec))


@pytest.fixture
def service(model_of: ModelOf) -> FakeService:
    """A service of one model "tiny": (N, 3, 8, 8) float32, at most four images a request, ten classes."""
    return FakeService(model_of())


@dataclass(frozen=True)
class Endpoint:
    """A running server of one model, named "tiny", version 1.

    Attributes:
        http: "host:port".
        grpc: likewise.
        artifact: the model.
        pid: of the process.
    """

    http: str
    grpc: str
    artifact: Artifact
    pid: int


@pytest.fixture(scope="session")
def tiny_artifact(graph_of: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A classifier of (N, 3, 32, 32) float32 into ten classes, in no time."""
    numbers = np.random.default_rng(5)
    constants = {
        "w": numbers.normal(size=(8, 3, 5, 5)).astype(np.float32),
        "d": numbers.normal(size=(8, 10)).astype(np.float32),
        "b": numbers.normal(size=10).astype(np.float32),
    }
    nodes = (
        "c = Conv<strides=[4, 4]>(x, w) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) y = Gemm(f, d, b)"
    )
    graph = graph_of(nodes, constants, image="3,32,32")
    spec = _spec_of(side=32)
    named = replace(spec, input=replace(spec.input, name="x"), output=replace(spec.output, name="y"))
    return save_artifact(graph, named, tmp_path_factory.mktemp("tiny") / "tiny.onnx")


@pytest.fixture(scope="session")
def endpoint(tiny_artifact: Artifact) -> Iterator[Endpoint]:
    """A server of ``tiny_artifact`` in a process of its own, which may load and unload it."""
    layout = ("--instances", "1", "--threads", "1", "--max-batch", "4", "--max-images", "8")
    command = [sys.executable, "-m", "edgecnn", "serve", f"{tiny_artifact.path}=tiny", *layout]
    command += ["--port", "0", "--grpc-port", "0", "--model-control", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield Endpoint(told["http"], told["grpc"], tiny_artifact, process.pid)
        finally:
            process.terminate()
            code = process.wait(30)
    assert code == 0

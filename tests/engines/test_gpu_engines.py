"""The engines that need an NVIDIA GPU, on one. scripts/test-gpu runs this, and lets nothing be skipped.

EDGECNN_GPU_ENGINES=ort-cuda,trt-rtx leaves the others out, where their library does not support the GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.cache import CACHE_VARIABLE
from edgecnn.cuda_driver import cuda_gpus
from edgecnn.engines import Engine, EngineOptions, open_engine
from edgecnn.engines.base import Batch, CopyingEngine, Scores
from edgecnn.engines.cuda.bindings import open_cuda
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.export.parity import compare_scores
from edgecnn.plans import read_plan
from edgecnn.plans.build import build_plan
from edgecnn.plans.flavour import find_flavour
from edgecnn.plans.options import BuildOptions
from edgecnn.plans.spec import Batches

pytestmark = pytest.mark.gpu

NAMES = ("ort-cuda", "trt", "trt-rtx")
PLANS = ("trt", "trt-rtx")

#: Of the largest score: float32 on a GPU sums in another order, and TensorFloat-32 is off.
FP32_TOLERANCE = 1e-3

MIB = 2**20


@pytest.fixture(autouse=True)
def gpu(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name; plans that are built are kept for all these tests."""
    try:
        name = cuda_gpus()[0].name
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.getbasetemp() / "gpu-cache"))
    return name


def opened(name: str, artifact: Artifact, **options: Any) -> Engine:
    try:
        return open_engine(name, artifact, EngineOptions(**options))
    except EngineUnavailableError as error:
        pytest.skip(str(error))


def pictures(count: int, seed: int = 0) -> Batch:
    return np.random.default_rng(seed).normal(size=(count, 3, 32, 32)).astype(np.float32)


@pytest.fixture
def torch_scores(dynamic: Artifact) -> Callable[[Batch], Scores]:
    """What PyTorch answers on the CPU."""

    def scores(batch: Batch) -> Scores:
        with open_engine("torch", dynamic, EngineOptions(threads=1)) as engine:
            return engine.run(batch)

    return scores


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_float32(
    name: str, gpu: str, dynamic: Artifact, torch_scores: Callable[[Batch], Scores]
) -> None:
    with opened(name, dynamic) as engine:
        assert (engine.info.device, engine.info.precision) == (gpu, "fp32")
        for count in (1, 8, 32, 5, 1):
            batch = pictures(count, count)
            found = compare_scores(torch_scores(batch), engine.run(batch), images=count)
            assert found.max_rel <= FP32_TOLERANCE


@pytest.mark.parametrize("name", PLANS)
def test_half_precision_chooses_the_same_classes(
    name: str, dynamic: Artifact, torch_scores: Callable[[Batch], Scores]
) -> None:
    batch = pictures(32)
    with opened(name, dynamic, precision="fp16") as engine:
        assert engine.info.precision == "fp16"
        found = compare_scores(torch_scores(batch), engine.run(batch), images=32)
    assert found.top1_agreement == 100.0
    assert 0 < found.max_rel <= 2e-2, "0 would be float32"


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "plain"])
def test_sizes_that_alternate(name: str, graph: bool, dynamic: Artifact) -> None:
    """A graph that was captured for one size must survive runs of the others."""
    batches = [pictures(count, count) for count in (1, 7, 32)]
    with opened(name, dynamic, graph=graph) as engine:
        first = [engine.run(batch) for batch in batches]
        for _ in range(20):
            for batch, scores in zip(batches, first, strict=True):
                assert np.array_equal(engine.run(batch), scores)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "plain"])
def test_one_batch_size_prepared(name: str, graph: bool, dynamic: Artifact) -> None:
    with opened(name, dynamic, batch=4, graph=graph) as engine:
        batch = pictures(4)
        assert np.allclose(engine.run(batch), engine.run(batch), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("streams", [1, 4])
def test_many_threads(name: str, streams: int, dynamic: Artifact) -> None:
    batches = [pictures(1 + seed % 9, seed) for seed in range(200)]
    with opened(name, dynamic, streams=streams) as engine, ThreadPoolExecutor(8) as pool:
        alone = [engine.run(batch) for batch in batches]
        for scores, right in zip(pool.map(engine.run, batches), alone, strict=True):
            assert np.allclose(scores, right, rtol=0, atol=1e-4 * np.abs(right).max())


@pytest.mark.parametrize("name", NAMES)
def test_copies_alone(name: str, dynamic: Artifact) -> None:
    with opened(name, dynamic) as engine:
        assert isinstance(engine, CopyingEngine)
        engine.copy_only(pictures(8))
        batch = pictures(8, 1)
        assert engine.run(batch).shape == (8, 10)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_leaks(name: str, dynamic: Artifact) -> None:
    """After a few rounds for what the libraries keep, opening and closing costs no memory."""
    cuda = open_cuda("trt")
    free = []
    for round_ in range(12):
        with opened(name, dynamic) as engine:
            for count in (1, 8, 32):
                engine.run(pictures(count, round_))
        free.append(cuda.free_bytes())
    assert free[4] - free[-1] < 8 * MIB


@pytest.mark.parametrize("name", PLANS)
def test_out_of_memory_is_an_error_and_not_the_end(name: str, dynamic: Artifact) -> None:
    cuda, size = open_cuda("trt"), 1 << 30
    held: list[int] = []

    def take_all() -> None:
        while True:
            held.append(cuda.allocate(size))

    with opened(name, dynamic) as engine:
        try:
            with pytest.raises(EngineError, match="Out of memory of the GPU"):
                take_all()
        finally:
            for address in held:
                cuda.free(address)
        assert engine.run(pictures(3)).shape == (3, 10)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_from_a_file(name: str, dynamic: Artifact, tmp_path: Path, gpu: str) -> None:
    path = tmp_path / "net.plan"
    options = BuildOptions(flavour=find_flavour(name), batches=Batches(min=1, opt=4, max=8))
    try:
        build_plan(dynamic, options, path)
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    assert read_plan(path).spec.precision == "fp32"
    with opened(name, open_artifact(path)) as engine:
        assert engine.info.device == gpu
        assert engine.run(pictures(8)).shape == (8, 10)
        with pytest.raises(EngineError, match="takes 1 to 8 images"):
            engine.run(pictures(9))


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("at", [0.0, 0.3, 0.9])
def test_a_damaged_plan(name: str, at: float, dynamic: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "net.plan"
    try:
        build_plan(dynamic, BuildOptions(flavour=find_flavour(name)), path)
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(Exception, match="damaged"):
        open_engine(name, open_artifact(path), EngineOptions())

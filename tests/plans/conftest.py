"""Tiny artifacts to build plans of, and a fake TensorRT with a fake GPU."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from edgecnn.artifact import Artifact, graph_input, graph_output, save_artifact
from edgecnn.cuda_driver import Gpu
from edgecnn.plans import here
from edgecnn.spec import ModelSpec, Precision, Preprocess, Quantization, WeightsId

GraphOf = Callable[..., onnx.ModelProto]

PACKAGE = Path(__file__).with_name("fake_package")
GPU = Gpu("NVIDIA Test 1", "9.0")
NODES = "a = Conv<pads=[1, 1, 1, 1]>(x, w1, b1) r = Relu(a) p = GlobalAveragePool(r) f = Flatten(p) y = Gemm<transB=1>(f, dense, b2)"  # noqa: E501


def weights() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(3)
    shapes = {"w1": (8, 3, 3, 3), "dense": (4, 8), "b1": (8,), "b2": (4,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def spec_of(model: onnx.ModelProto, precision: Precision = "fp32", target: str | None = None) -> ModelSpec:
    quantized = None
    if target is not None:
        quantized = Quantization(recipe="auto", target=target, scheme="int8", source_sha256="0" * 64)
    return ModelSpec(
        network="tiny",
        classes=("a", "b", "c", "d"),
        input=graph_input(model),
        output=graph_output(model),
        preprocess=Preprocess(resize=None, crop=(8, 8)),
        weights=WeightsId(kind="unknown", name="none"),
        precision=precision,
        quantization=quantized,
    )


@pytest.fixture
def tiny(graph_of: GraphOf, tmp_path: Path) -> Artifact:
    """A convolution and a matrix product, in fp32, with a dynamic batch."""
    model = graph_of(NODES, weights())
    return save_artifact(model, spec_of(model), tmp_path / "tiny.onnx")


@pytest.fixture
def fake_tensorrt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Calling it installs the fake TensorRT, in this process and those that it starts; says what fails."""
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(here, "cuda_gpus", lambda: (GPU,))

    def install(wrong: str = "") -> ModuleType:
        monkeypatch.setenv("FAKE_TENSORRT", wrong)
        monkeypatch.setenv("PYTHONPATH", str(PACKAGE))
        monkeypatch.syspath_prepend(str(PACKAGE))
        sys.modules.pop("tensorrt", None)
        return importlib.import_module("tensorrt")

    yield install
    sys.modules.pop("tensorrt", None)

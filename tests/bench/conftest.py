"""Small artifacts, and engines that take a known time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.artifact import Artifact, save_artifact
from edgecnn.bench import opened, stages
from edgecnn.spec import ModelSpec, Precision, Preprocess, TensorSpec, WeightsId
from tests.bench.running import Open

MakeArtifact = Callable[..., Artifact]


def _mean_model(dtype: str, batch: int | str, scale: float) -> onnx.ModelProto:
    """(N, 8, 8, 3) to (N, 3): the mean of each channel, times ``scale``."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Cast", ["input"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["number", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("input", element, [batch, 8, 8, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3])],
        [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(np.array(scale, np.float32), "scale"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture
def artifact(tmp_path: Path) -> MakeArtifact:
    """Writes an artifact that ONNX Runtime runs in microseconds."""

    def write(
        name: str = "tiny",
        *,
        dtype: str = "uint8",
        batch: int | str = "batch",
        scale: float = 1.0,
        precision: Precision = "fp32",
    ) -> Artifact:
        spec = ModelSpec(
            network=name,
            classes=("a", "b", "c"),
            input=TensorSpec(name="input", dtype=dtype, shape=(batch, 8, 8, 3)),
            output=TensorSpec(name="scores", dtype="float32", shape=(batch, 3)),
            preprocess=Preprocess(resize=8, crop=(8, 8), in_graph=True),
            weights=WeightsId(kind="unknown", name="none"),
            precision=precision,
        )
        return save_artifact(_mean_model(dtype, batch, scale), spec, tmp_path / f"{name}.onnx")

    return write


@pytest.fixture
def short_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures each stage for a moment only."""
    monkeypatch.setattr(stages, "_SECONDS", 0.005)


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> Callable[[Open], None]:
    """Replaces how engines are opened."""
    return lambda function: monkeypatch.setattr(opened, "open_choice", function)

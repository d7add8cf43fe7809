"""Means over height and width become GlobalAveragePool; other means stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edgecnn.graph.pooling import pool_globally

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]

IMAGES = np.random.default_rng(0).normal(1, size=(3, 4, 5, 7)).astype(np.float32)
BEHIND = "y = Relu(m)"


def run(model: onnx.ModelProto) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores: Array = session.run(None, {"x": IMAGES})[0]
    return scores


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [3, 2], [-2, -1], [2, -1]])
@pytest.mark.parametrize("opset", [13, 17, 18, 20])
def test_a_mean_of_each_channel_becomes_a_pooling(
    graph_of: GraphOf, opset: int, axes: list[int], keepdims: int
) -> None:
    if opset < 18:
        mean = f"m = ReduceMean<axes={axes}, keepdims={keepdims}>(x)"
    else:
        mean = f"m = ReduceMean<keepdims={keepdims}>(x, axes)"
    model = graph_of(f"{mean} {BEHIND}", {"axes": np.array(axes, np.int64)}, "4,5,7", opset)
    before = run(model)
    assert pool_globally(model) == 1
    onnx.checker.check_model(model, full_check=True)
    operators = {node.name: node.op_type for node in model.graph.node}
    assert operators["m"] == "GlobalAveragePool", "the node keeps the name by which users know it"
    assert "ReduceMean" not in operators.values()
    after = run(model)
    assert after.shape == before.shape == ((3, 4, 1, 1) if keepdims else (3, 4))
    np.testing.assert_allclose(after, before, rtol=1e-6)  # two orders of summing 35 float32


def test_the_output_keeps_its_name(graph_of: GraphOf) -> None:
    model = graph_of("y = ReduceMean<axes=[2,3], keepdims=0>(x)", {}, "4,5,7", 17)
    before = run(model)
    assert pool_globally(model) == 1
    assert [node.op_type for node in model.graph.node] == ["GlobalAveragePool", "Flatten"]
    np.testing.assert_allclose(run(model), before, rtol=1e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        "m = ReduceMean<axes=[1]>(x)",
        "m = ReduceMean<axes=[3]>(x)",
        "m = ReduceMean<axes=[1, 2, 3]>(x)",
        "m = ReduceMean(x)",
        "m = ReduceMax<axes=[2, 3]>(x)",
        "p = ReduceMean<axes=[1], keepdims=0>(x) m = ReduceMean<axes=[-1, -2]>(p)",
    ],
)
def test_other_reductions_stay(graph_of: GraphOf, nodes: str) -> None:
    model = graph_of(f"{nodes} {BEHIND}", {}, "4,5,7", 17)
    before = model.SerializeToString()
    assert pool_globally(model) == 0
    assert model.SerializeToString() == before

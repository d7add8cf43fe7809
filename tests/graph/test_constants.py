"""Constants in nodes become initialisers, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn.graph.constants import drop_constant_inputs, store_constants

GraphOf = Callable[..., onnx.ModelProto]

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
WEIGHTS = {
    "w": np.random.default_rng(1).normal(size=(3, 3, 1, 1)).astype(np.float32),
    "b": np.array([1, 2, 3], np.float32),
}


def run(model: onnx.ModelProto) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(None, {"x": IMAGES})[0]
    return scores


def test_equal_biases_that_are_handed_on(graph_of: GraphOf) -> None:
    nodes = "again = Identity(b) more = Identity(again) a = Conv(x, w, again) y = Conv(a, w, more)"
    model = graph_of(nodes, WEIGHTS)
    before = run(model)
    assert store_constants(model) == 2
    assert [node.op_type for node in model.graph.node] == ["Conv", "Conv"]
    stored = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in model.graph.initializer}
    assert stored["again"] == stored["more"] == [1, 2, 3]
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(run(model), before)


def test_weights_in_nodes(graph_of: GraphOf) -> None:
    model = graph_of("a = Conv(x, w, b) y = Relu(a)", WEIGHTS)
    before = run(model)
    nodes = [
        helper.make_node("Constant", [], [tensor.name], name=tensor.name, value=tensor)
        for tensor in model.graph.initializer
    ]
    del model.graph.initializer[:]
    rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    assert store_constants(model) == 2
    assert {tensor.name for tensor in model.graph.initializer} == {"w", "b"}
    assert np.array_equal(run(model), before)


def test_what_is_no_constant_stays(graph_of: GraphOf) -> None:
    model = graph_of("a = Identity(x) c = Conv(a, w, b) y = Identity(c)", WEIGHTS)
    before = model.SerializeToString(deterministic=True)
    assert store_constants(model) == 0
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("ir_version", [3, 8])
def test_weights_among_the_inputs_are_fed_no_more(graph_of: GraphOf, ir_version: int, *, first: bool) -> None:
    model = graph_of("a = Conv(x, w, b) y = Relu(a)", WEIGHTS, opset=8)
    before = run(model)
    weights = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in WEIGHTS.items()
    ]
    image = onnx.ValueInfoProto.FromString(model.graph.input[0].SerializeToString())
    del model.graph.input[:]
    model.graph.input.extend([*weights, image] if first else [image, *weights])
    model.ir_version = ir_version
    assert drop_constant_inputs(model) == 2
    assert [value.name for value in model.graph.input] == ["x"]
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(run(model), before)
    assert drop_constant_inputs(model) == 0

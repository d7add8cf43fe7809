from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.graph.reading import arithmetic_precision, ends_in_softmax


def _model(nodes: list[onnx.NodeProto], weights: dict[str, Any] | None = None) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, tensors))


def _product(weights: str, output: str) -> onnx.NodeProto:
    return helper.make_node("MatMul", ["x", weights], [output])


FLOATS = np.zeros((4, 4), np.float32)


def test_the_precision_is_that_of_the_weights() -> None:
    assert arithmetic_precision(_model([_product("w", "y")], {"w": FLOATS})) == "fp32"
    assert arithmetic_precision(_model([_product("w", "y")], {"w": FLOATS.astype(np.float16)})) == "fp16"
    assert arithmetic_precision(_model([helper.make_node("Relu", ["x"], ["y"])])) == "fp32"


def test_quantised_operators_and_dequantised_weights_are_int8() -> None:
    integers = {"q": FLOATS.astype(np.int8), "s": np.ones((), np.float32)}
    pair = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), _product("w", "y")]
    assert arithmetic_precision(_model(pair, integers)) == "int8"
    operator = helper.make_node("MatMulInteger", ["x", "q"], ["y"])
    assert arithmetic_precision(_model([operator], integers)) == "int8"


def test_the_majority_counts() -> None:
    weights = {"w": FLOATS, "h": FLOATS.astype(np.float16)}
    nodes = [_product("h", "a"), _product("h", "b"), _product("w", "y")]
    assert arithmetic_precision(_model(nodes, weights)) == "fp16"


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (["Softmax"], True),
        (["Softmax", "Cast", "Flatten"], True),
        (["Softmax", "Relu"], False),
        (["LogSoftmax"], False),
        (["Identity"], False),
    ],
)
def test_a_softmax_is_found_behind_changes_of_type_and_shape(chain: list[str], expected: bool) -> None:
    names = ["x", *(f"v{index}" for index in range(len(chain) - 1)), "y"]
    nodes = [helper.make_node(kind, [names[index]], [names[index + 1]]) for index, kind in enumerate(chain)]
    assert ends_in_softmax(_model(nodes)) is expected

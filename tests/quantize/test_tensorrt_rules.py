"""Each rule is named with its node, and only where it is broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn.quantize.tensorrt_rules import tensorrt_violations

CONSTANTS: dict[str, NDArray[np.generic]] = {
    "scale": np.array(0.1, np.float32),
    "zero": np.array(0, np.int8),
    "seven": np.array(7, np.int8),
    "unsigned": np.array(0, np.uint8),
    "weights": np.ones((2, 2, 1, 1), np.int8),
    "bias": np.ones(2, np.int32),
}


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def violations(*nodes: onnx.NodeProto, opset: int = 18) -> tuple[str, ...]:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", nodes[-1].output[0])
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in CONSTANTS.items()]
    graph = helper.make_graph(list(nodes), "small", values[:1], values[1:], constants)
    return tensorrt_violations(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))


def pair(value: str, zero: str = "zero") -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """Q and DQ behind ``value``."""
    quantise = node("QuantizeLinear", f"{value} scale {zero}", f"{value}_q")
    return quantise, node("DequantizeLinear", f"{value}_q scale {zero}", f"{value}_dq")


WEIGHTS = node("DequantizeLinear", "weights scale zero", "w")


def test_a_graph_that_keeps_them_and_one_without_quantisation() -> None:
    assert violations(*pair("x"), WEIGHTS, node("Conv", "x_dq w", "c"), node("Relu", "c", "y")) == ()
    assert violations(node("Relu", "x", "y")) == ()


def test_unsigned_activations_and_weights() -> None:
    assert violations(*pair("x", "unsigned")) == ("x_q: it is in uint8, and TensorRT takes int8 alone",)
    stored = node("DequantizeLinear", "unsigned scale", "y")
    assert violations(stored) == ("y: it is in uint8, and TensorRT takes int8 alone",)


def test_the_type_without_a_zero_point() -> None:
    """It is uint8 unless an attribute of opset 21 says otherwise."""
    bare = node("QuantizeLinear", "x scale", "y")
    assert violations(bare) == ("y: it is in uint8, and TensorRT takes int8 alone",)
    assert violations(node("QuantizeLinear", "x scale", "y", output_dtype=TensorProto.INT8), opset=21) == ()


def test_zero_points() -> None:
    said = tuple(f"x_{end}: its zero point is 7, and TensorRT takes 0 alone" for end in ("q", "dq"))
    assert violations(*pair("x", "seven")) == said
    computed = (node("Identity", "zero", "same"), node("DequantizeLinear", "weights scale same", "y"))
    assert violations(*computed) == (
        "y: its zero point is computed, and TensorRT takes the constant 0 alone",
    )


def test_a_quantised_bias() -> None:
    bias = node("DequantizeLinear", "bias scale", "b")
    assert violations(*pair("x"), WEIGHTS, bias, node("Conv", "x_dq w b", "y")) == (
        "y: its bias is quantised, and TensorRT takes it in float",
    )


@pytest.mark.parametrize("kind", ["Relu", "Clip", "HardSwish", "Sigmoid"])
@pytest.mark.parametrize("before", ["Conv", "Gemm", "MatMul", "Add"])
def test_quantisation_between_a_convolution_and_its_activation(kind: str, before: str) -> None:
    assert violations(node(before, "x x", "c"), *pair("c"), node(kind, "c_dq", "y")) == (
        "y: Q/DQ stand between it and c, which keeps TensorRT from fusing the two",
    )


def test_quantisation_before_an_activation_of_something_else() -> None:
    assert (
        violations(node("MaxPool", "x", "m", kernel_shape=[1, 1]), *pair("m"), node("Relu", "m_dq", "y"))
        == ()
    )

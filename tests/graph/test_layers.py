"""Layers of a graph: what they multiply, in which precision, and what they are quantised with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from edgecnn.graph.layers import GraphLayer, graph_layers


def model_of(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
    shape: Sequence[int | str],
    *,
    dtype: int = TensorProto.FLOAT,
    opset: int = 17,
) -> onnx.ModelProto:
    """From ``x`` of ``shape`` to ``y`` of unknown shape."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def node(op: str, inputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), ["y"], name="layer", **attributes)


def zeros(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
    return np.zeros(shape, dtype)


def only(model: onnx.ModelProto) -> GraphLayer:
    (layer,) = graph_layers(model)
    return layer


@pytest.mark.parametrize(
    ("made", "weight", "shape", "output", "macs"),
    [
        (node("Conv", "xw", pads=[1, 1, 1, 1]), (8, 4, 3, 3), (4, 6, 5), (8, 6, 5), 8 * 6 * 5 * 4 * 9),
        (node("Conv", "xw", group=2), (8, 2, 3, 3), (4, 6, 5), (8, 4, 3), 8 * 4 * 3 * 2 * 9),
        (node("Conv", "xw", group=4, strides=[2, 2]), (4, 1, 3, 3), (4, 7, 7), (4, 3, 3), 4 * 3 * 3 * 9),
        (node("Conv", "xw", group=4), (8, 1, 1, 5), (4, 6, 5), (8, 6, 1), 8 * 6 * 5),
        (node("ConvTranspose", "xw", strides=[2, 2]), (4, 8, 2, 2), (4, 3, 3), (8, 6, 6), 4 * 9 * 8 * 4),
        (node("Gemm", "xw"), (12, 7), (12,), (7,), 84),
        (node("Gemm", "xw", transB=1), (7, 12), (12,), (7,), 84),
        (node("MatMul", "xw"), (12, 7), (5, 12), (5, 7), 5 * 84),
        (node("MatMul", "xw"), (12,), (5, 12), (5,), 5 * 12),
    ],
)
@pytest.mark.parametrize("batch", ["batch", 1, 6])
def test_multiply_accumulates_are_those_of_one_image(
    made: onnx.NodeProto,
    weight: tuple[int, ...],
    shape: tuple[int, ...],
    output: tuple[int, ...],
    macs: int,
    batch: int | str,
) -> None:
    layer = only(model_of([made], {"w": zeros(*weight)}, (batch, *shape)))
    assert layer.macs == macs
    assert layer.output_shape == (1 if batch == "batch" else batch, *output)
    assert (layer.weights, layer.weight_bytes) == (prod(weight), 4 * prod(weight))
    assert (layer.node, layer.op, layer.precision) == ("layer", made.op_type, "fp32")


def test_a_product_of_two_activations_multiplies_without_weights() -> None:
    layer = only(model_of([node("MatMul", "xx")], {}, ("batch", 3, 6, 6)))
    assert (layer.macs, layer.weights, layer.weight_scales) == (3 * 6 * 6 * 6, 0, None)


def test_what_the_file_does_not_tell_is_not_known() -> None:
    layer = only(model_of([node("Conv", "xw")], {"w": zeros(8, 3, 3, 3)}, ("batch", 3, "height", "width")))
    assert (layer.macs, layer.output_shape, layer.weights) == (None, None, 216)
    assert layer.multiplies


@pytest.mark.parametrize(
    ("dtype", "precision", "size"),
    [(TensorProto.FLOAT16, "fp16", 2), (TensorProto.BFLOAT16, "bf16", 2), (TensorProto.DOUBLE, "fp64", 8)],
)
def test_float_of_any_width(dtype: int, precision: str, size: int) -> None:
    weight = zeros(4, 3, 1, 1, dtype=helper.tensor_dtype_to_np_dtype(dtype))
    layer = only(model_of([node("Conv", "xw")], {"w": weight}, (1, 3, 2, 2), dtype=dtype))
    assert (layer.precision, layer.weight_bytes) == (precision, 12 * size)


def test_weights_that_are_cast_count_in_the_precision_of_the_product() -> None:
    cast = helper.make_node("Cast", ["h"], ["w"], to=TensorProto.FLOAT)
    weight = zeros(4, 3, 1, 1, dtype=np.float16)
    layer = only(model_of([cast, node("Conv", "xw")], {"h": weight}, (1, 3, 2, 2)))
    assert (layer.precision, layer.weight_bytes) == ("fp32", 24)


def test_weights_of_four_bits() -> None:
    packed = {"b": zeros(6, 2, 16, dtype=np.uint8), "s": np.array([1, 2, 4] * 4, np.float32)}
    made = node("MatMulNBits", ("x", "b", "s"), domain="com.microsoft", K=64, N=6, bits=4, block_size=32)
    layer = only(model_of([made], packed, ("batch", 64)))
    assert (layer.precision, layer.macs, layer.weights, layer.weight_bytes) == ("weights-int4", 384, 384, 192)
    assert layer.output_shape == (1, 6)
    assert layer.weight_scales is not None
    assert (layer.weight_scales.low, layer.weight_scales.high) == (1, 4)
    assert layer.weight_scales.granularity == "blocked"


def dequantise(value: str, made: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", [value, f"{value}_s", f"{value}_z"], [made], **attributes)


def pairs(stored: Any, quantised: bool = True, tail: str = "Relu") -> onnx.ModelProto:
    """x, quantised to ``stored`` or not, convolved with int8 weights, then ``tail``, quantised."""
    constants: dict[str, NDArray[Any]] = {
        "q_s": np.array(0.5, np.float32),
        "q_z": np.array(10, stored),
        "w": zeros(4, 3, 1, 1, dtype=np.int8),
        "w_s": np.array([1, 2, 3, 4], np.float32),
        "w_z": zeros(4, dtype=np.int8),
        "o_s": np.array(0.25, np.float32),
        "o_z": np.array(0, stored),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "q_s", "q_z"], ["q"]),
        dequantise("q", "real"),
        dequantise("w", "weight", axis=0),
        helper.make_node("Conv", ["real" if quantised else "x", "weight"], ["sum"], name="conv"),
        helper.make_node(tail, ["sum"], ["behind"]),
        helper.make_node("QuantizeLinear", ["behind", "o_s", "o_z"], ["o"]),
        helper.make_node("DequantizeLinear", ["o", "o_s", "o_z"], ["y"]),
    ]
    return model_of(nodes, constants, (1, 3, 2, 2), opset=21)


def test_pairs_of_quantize_and_dequantize_linear() -> None:
    layer = only(pairs(np.uint8))
    assert (layer.precision, layer.macs, layer.weight_bytes) == ("int8", 48, 12)
    (taken,) = layer.inputs
    assert (taken.dtype, taken.scale, taken.zero_point) == ("uint8", 0.5, 10)
    assert (taken.low, taken.high) == (-5, 122.5)
    assert layer.output is not None
    assert (layer.output.low, layer.output.high) == (0, 63.75)
    assert layer.weight_scales is not None
    scales = layer.weight_scales
    assert (scales.dtype, scales.low, scales.high, scales.count) == ("int8", 1, 4, 4)
    assert scales.granularity == "per-channel"


def test_other_widths_of_activations() -> None:
    assert only(pairs(np.int8)).inputs[0].low == (-128 - 10) * 0.5
    assert only(pairs(np.int16)).precision == "int16xint8"
    layer = only(pairs(np.uint8, quantised=False))
    assert (layer.precision, layer.inputs) == ("weights-int8", ())


def test_a_range_behind_what_is_not_fused_is_not_the_nodes_own() -> None:
    assert only(pairs(np.uint8, tail="Sigmoid")).output is None


def test_quantised_nodes_without_weights_are_listed() -> None:
    constants: dict[str, NDArray[Any]] = {"q_s": np.array(0.5, np.float32), "q_z": np.array(0, np.uint8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "q_s", "q_z"], ["q"]),
        dequantise("q", "real"),
        helper.make_node("Add", ["real", "real"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "q_s", "q_z"], ["o"]),
        helper.make_node("DequantizeLinear", ["o", "q_s", "q_z"], ["back"]),
        helper.make_node("Neg", ["back"], ["y"]),
    ]
    add, neg = graph_layers(model_of(nodes, constants, (1, 3)))
    assert (add.node, add.op, add.precision, add.macs, len(add.inputs)) == ("sum", "Add", "int8", 0, 2)
    assert (neg.precision, neg.output, len(neg.inputs)) == ("fp32", None, 1)
    assert not add.multiplies


class Readings(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        inputs = np.random.default_rng(0).normal(size=(4, 1, 3, 8, 8)).astype(np.float32)
        self._batches: Iterator[dict[str, NDArray[Any]]] = iter([{"x": batch} for batch in inputs])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._batches, None)


def network(path: Path) -> Path:
    """Convolution, depthwise convolution, addition, pooling, matrix product; shapes computed as of old."""
    numbers = np.random.default_rng(1)
    constants: dict[str, NDArray[Any]] = {
        "a": numbers.normal(size=(6, 3, 3, 3)).astype(np.float32),
        "b": numbers.normal(size=(6, 1, 3, 3)).astype(np.float32),
        "c": numbers.normal(size=(6, 5)).astype(np.float32),
        "first": np.array(0, np.int64),
        "rest": np.array([-1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["h", "b"], ["d"], name="depthwise", group=6, pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["h", "d"], ["s"], name="add"),
        helper.make_node("GlobalAveragePool", ["s"], ["p"], name="pool"),
        helper.make_node("Shape", ["p"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "first"], ["images"], name="gather"),
        helper.make_node("Unsqueeze", ["images"], ["row"], name="unsqueeze", axes=[0]),
        helper.make_node("Concat", ["row", "rest"], ["rows"], name="concat", axis=0),
        helper.make_node("Reshape", ["p", "rows"], ["f"], name="reshape"),
        helper.make_node("MatMul", ["f", "c"], ["y"], name="product"),
    ]
    onnx.save(model_of(nodes, constants, ("batch", 3, 8, 8), opset=12), path)
    return path


MACS = {"conv": 6 * 64 * 27, "depthwise": 6 * 64 * 9, "product": 30}


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_what_onnx_runtime_quantises(tmp_path: Path, form: QuantFormat) -> None:
    source, made = network(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(source, made, Readings(), quant_format=form, per_channel=True, **types)
    layers = graph_layers(onnx.load(made))
    products = [layer for layer in layers if layer.multiplies]
    assert [layer.macs for layer in products] == list(MACS.values())
    assert {layer.precision for layer in products} == {"int8"}
    assert [layer.weight_bytes for layer in products] == [162, 54, 30]
    assert all(len(layer.inputs) == 1 and layer.output is not None for layer in products)
    scales = [layer.weight_scales.granularity for layer in products if layer.weight_scales]
    assert scales[:2] == ["per-channel", "per-channel"]
    assert "Add" in "".join(layer.op for layer in layers)


def test_what_onnx_runtime_quantises_at_run_time(tmp_path: Path) -> None:
    source, made = network(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    quantize_dynamic(source, made, weight_type=QuantType.QUInt8)
    products = [layer for layer in graph_layers(onnx.load(made)) if layer.multiplies]
    assert [layer.op for layer in products] == ["ConvInteger", "ConvInteger", "MatMulInteger"]
    assert [layer.macs for layer in products] == list(MACS.values())
    assert {layer.precision for layer in products} == {"int8"}
    assert [layer.weight_bytes for layer in products] == [162, 54, 30]


def test_float_layers_of_the_same_network(tmp_path: Path) -> None:
    layers = graph_layers(onnx.load(network(tmp_path / "float.onnx")))
    assert {layer.node: layer.macs for layer in layers} == MACS


def test_functions_of_the_model_are_looked_into() -> None:
    opset = helper.make_opsetid("", 17)
    body = [helper.make_node("Conv", ["image", "kernel"], ["map"], name="inner")]
    function = helper.make_function("own", "Block", ["image", "kernel"], ["map"], body, [opset])
    call = helper.make_node("Block", ["x", "w"], ["y"], domain="own")
    model = model_of([call], {"w": zeros(4, 3, 1, 1)}, (1, 3, 2, 2))
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    layer = only(model)
    assert (layer.op, layer.macs) == ("Conv", 48)


def test_the_model_is_not_changed() -> None:
    model = pairs(np.uint8)
    before = model.SerializeToString()
    graph_layers(model)
    assert model.SerializeToString() == before


def test_weights_that_are_dequantised_by_hand() -> None:
    graph = onnx.parser.parse_graph(
        """weights_only (float[1, 2, 4, 4] x) => (float[1, 3, 4, 4] y)
        <int8[3, 2, 1, 1] stored = {1, -2, 3, -4, 5, -6}, float[3, 1, 1, 1] scales = {0.5, 0.25, 0.125}>
        { c = Cast<to = 1>(stored) w = Mul(c, scales) y = Conv(x, w) }"""
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    (layer,) = graph_layers(model)
    assert layer.precision == "weights-int8"
    assert (layer.weights, layer.weight_bytes, layer.macs) == (6, 6, 96)
    assert layer.weight_scales is not None
    assert (layer.weight_scales.low, layer.weight_scales.high) == (0.125, 0.5)

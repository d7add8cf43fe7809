"""What TensorRT refuses, or runs slowly, in a graph with Q/DQ nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx
from onnx import TensorProto

from edgecnn.graph.index import GraphIndex, attribute

__all__ = ["tensorrt_violations"]

#: What TensorRT fuses into the convolution, matrix product or sum before it.
_ACTIVATIONS = frozenset(
    (
        *("Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu"),
        *("Relu", "Sigmoid", "Swish", "Tanh"),
    )
)
_FUSES_WITH_ACTIVATION = frozenset({"Add", "Conv", "Gemm", "MatMul"})
_HAS_BIAS = frozenset({"Conv", "ConvTranspose", "Gemm"})


def tensorrt_violations(model: onnx.ModelProto) -> tuple[str, ...]:
    """Each broken rule of TensorRT's explicit quantisation, "node: what", in the order of the graph.

    - int8 only: TensorRT for RTX 1.7 reads uint8 as int8, with a warning, and so cuts off half of the range;
    - the zero point is 0, and no bias is quantised: the parser refuses others;
    - no Q/DQ between a convolution and its activation: it builds, and the two are not fused.

    Empty for a graph without Q/DQ.
    """
    index = GraphIndex(model.graph)
    return tuple(
        f"{node.name or node.output[0]}: {broken}"
        for node in model.graph.node
        for rule in _RULES
        for broken in rule(node, index)
    )


def _type(node: onnx.NodeProto, index: GraphIndex) -> Iterator[str]:
    dtype = _quantised_type(node, index)
    if dtype not in (None, TensorProto.INT8):
        yield f"it is in {TensorProto.DataType.Name(dtype).lower()}, and TensorRT takes int8 alone"


def _zero_point(node: onnx.NodeProto, index: GraphIndex) -> Iterator[str]:
    if not _is_quantiser(node) or (zero_point := _input(node, 2)) is None:
        return
    array = index.array(zero_point)
    if array is None:
        yield "its zero point is computed, and TensorRT takes the constant 0 alone"
    elif array.any():
        yield f"its zero point is {array.flat[array.ravel().nonzero()[0][0]]}, and TensorRT takes 0 alone"


def _bias(node: onnx.NodeProto, index: GraphIndex) -> Iterator[str]:
    if node.op_type in _HAS_BIAS and _dequantiser_of(_input(node, 2), index) is not None:
        yield "its bias is quantised, and TensorRT takes it in float"


def _fusion(node: onnx.NodeProto, index: GraphIndex) -> Iterator[str]:
    if node.op_type not in _ACTIVATIONS:
        return
    maker = _maker_before_quantisation(node.input[0], index)
    if maker is not None and maker.op_type in _FUSES_WITH_ACTIVATION:
        before = maker.name or maker.output[0]
        yield f"Q/DQ stand between it and {before}, which keeps TensorRT from fusing the two"


_RULES: tuple[Callable[[onnx.NodeProto, GraphIndex], Iterator[str]], ...] = (
    _type,
    _zero_point,
    _bias,
    _fusion,
)


def _is_quantiser(node: onnx.NodeProto) -> bool:
    return node.op_type in ("QuantizeLinear", "DequantizeLinear")


def _input(node: onnx.NodeProto, place: int) -> str | None:
    """An optional input; ONNX leaves it out, or gives it the empty name."""
    return (node.input[place] or None) if len(node.input) > place else None


def _quantised_type(node: onnx.NodeProto, index: GraphIndex) -> int | None:
    """ONNX's number of the type that the node quantises to, or from constants; None for other nodes.

    A bias, in int32, has a rule of its own.
    """
    zero_point = index.constants.get(_input(node, 2) or "")
    if node.op_type == "QuantizeLinear":
        # Without a zero point the type is an attribute since opset 21, and uint8 by default.
        named: int = attribute(node, "output_dtype", 0) or TensorProto.UINT8
        return zero_point.data_type if zero_point is not None else named
    if node.op_type == "DequantizeLinear" and (stored := index.constants.get(node.input[0])) is not None:
        return None if stored.data_type == TensorProto.INT32 else stored.data_type
    return None


def _dequantiser_of(name: str | None, index: GraphIndex) -> onnx.NodeProto | None:
    maker = index.producers.get(name or "")
    return maker if maker is not None and maker.op_type == "DequantizeLinear" else None


def _maker_before_quantisation(name: str, index: GraphIndex) -> onnx.NodeProto | None:
    """What made the value that reaches ``name`` through a Q/DQ pair; None where there is no pair."""
    dequantiser = _dequantiser_of(name, index)
    quantiser = index.producers.get(dequantiser.input[0]) if dequantiser is not None else None
    if quantiser is None or quantiser.op_type != "QuantizeLinear":
        return None
    return index.producers.get(quantiser.input[0])

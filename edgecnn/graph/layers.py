"""The nodes that matter of a graph: weights, precision as written, multiply-accumulates, quantisation.

What the file says is not always what an engine runs: an engine may fuse a quantised node with its
neighbours, or compute it in float. What really runs has to be measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgecnn.graph.index import GraphIndex, attribute
from edgecnn.graph.node_names import node_names
from edgecnn.graph.shapes import ValueType, images_per_run, inlined, value_types
from edgecnn.graph.storage import stored_bytes

__all__ = ["ActivationRange", "GraphLayer", "WeightScales", "graph_layers"]

Granularity = Literal["per-tensor", "per-channel", "blocked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRange:
    """What an activation is quantised with, per tensor: ``real = (stored - zero_point) * scale``.

    Attributes:
        dtype: numpy's name of the stored numbers, such as "uint8".
        scale: real units per step.
        zero_point: what stands for 0.
        low: the smallest real number that can be stored.
        high: the largest.
    """

    dtype: str
    scale: float
    zero_point: int
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightScales:
    """What weights are quantised with.

    Attributes:
        dtype: numpy's name of the stored numbers, such as "int8".
        low: the smallest scale.
        high: the largest; of one per tensor the same.
        count: how many there are.
        granularity: what has a scale of its own.
    """

    dtype: str
    low: float
    high: float
    count: int
    granularity: Granularity


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphLayer:
    """A node with multiply-accumulates, or another one that works on quantised numbers; for one image.

    Attributes:
        node: its name; of a node without one of its own, that of its first output (``node_names``).
        op: its operator.
        output_shape: of its first output, with a dynamic batch as 1; None when unknown.
        precision: as written in the file: "fp32", "fp16", "bf16", "fp64", "int8", "int16", "int4", "fp8";
            "int16xint8" for activations and weights that differ; "weights-int8" for weights that are stored
            so and multiplied in float; "unknown". What does not multiply is in integers if its output is
            quantised, too.
        macs: multiply-accumulates, without the additions of biases; 0 for nodes that are neither a
            convolution nor a matrix product; None when a shape is unknown.
        weights: how many numbers its weights are, without the bias; 0 if it has none.
        weight_bytes: what these take in the file.
        weight_scales: of quantised weights.
        inputs: of its quantised activations, in the order of its inputs.
        output: of its output, if that is quantised at once or behind a Relu or Clip.
    """

    node: str
    op: str
    output_shape: tuple[int, ...] | None
    precision: str
    macs: int | None
    weights: int = 0
    weight_bytes: int = 0
    weight_scales: WeightScales | None = None
    inputs: tuple[ActivationRange, ...] = ()
    output: ActivationRange | None = None

    @property
    def multiplies(self) -> bool:
        """Whether it is a convolution or a matrix product."""
        return self.macs != 0


@dataclass(frozen=True, slots=True)
class _Places:
    """Which inputs of an operator hold what: indices, pairs of them for a scale and its zero point."""

    weight: int | None = 1
    weight_scale: int | None = None
    inputs: tuple[tuple[int, int], ...] = ()
    output: tuple[int, int] | None = None


_FLOAT = _Places()
_ONE_INPUT = _Places(weight=None, inputs=((1, 2),), output=(3, 4))
_TWO_INPUTS = _Places(weight=None, inputs=((1, 2), (4, 5)), output=(6, 7))
_QLINEAR = _Places(weight=3, weight_scale=4, inputs=((1, 2),), output=(6, 7))

#: Convolutions and matrix products. ONNX's operators and ONNX Runtime's documentation say what is where.
_PRODUCTS: Mapping[str, _Places] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "FusedConv"), _FLOAT),
    **dict.fromkeys(("Gemm", "FusedGemm", "MatMul", "FusedMatMul"), _FLOAT),
    **dict.fromkeys(("ConvInteger", "MatMulInteger"), _FLOAT),
    "DynamicQuantizeMatMul": _Places(weight_scale=2),
    "MatMulIntegerToFloat": _Places(weight_scale=3, inputs=((2, 4),)),
    "MatMulNBits": _Places(weight_scale=2),
    "QGemm": _Places(weight=3, weight_scale=4, inputs=((1, 2),), output=(7, 8)),
    "QLinearConv": _QLINEAR,
    "QLinearMatMul": _QLINEAR,
}

#: Other operators on quantised numbers, whose scales are among their inputs.
_OTHERS: Mapping[str, _Places] = {
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _TWO_INPUTS),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearReduceMean"), _ONE_INPUT),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"), _ONE_INPUT),
}

_INTEGER = frozenset(
    {"ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm"}
)
_QUANTISERS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})

#: What weights may pass through on their way from storage to the node that uses them.
_STORAGE = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})

#: What engines fuse into the node before, so that the range behind it is the node's own.
_FUSED = frozenset({"Relu", "Clip"})

#: ONNX's names of element types -> what people call a network of them.
_KINDS = {
    **dict.fromkeys(("INT8", "UINT8"), "int8"),
    **dict.fromkeys(("INT16", "UINT16"), "int16"),
    **dict.fromkeys(("INT4", "UINT4"), "int4"),
    **dict.fromkeys(("INT2", "UINT2"), "int2"),
    **dict.fromkeys(("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"), "fp8"),
    "FLOAT": "fp32",
    "FLOAT16": "fp16",
    "BFLOAT16": "bf16",
    "DOUBLE": "fp64",
    "FLOAT4E2M1": "fp4",
}


def graph_layers(model: onnx.ModelProto) -> tuple[GraphLayer, ...]:
    """The convolutions, the matrix products and what else works on quantised numbers, in the graph's order.

    Reads pairs of QuantizeLinear and DequantizeLinear around ordinary operators, ONNX's and ONNX Runtime's
    operators on integers, weights of fewer bits (MatMulNBits), and float of any width. Multiply-accumulates
    are for one image: of a convolution, one per output and weight that it uses; of a matrix product, one
    per output and element of the inner dimension. Bodies of ``If`` and ``Loop``, recurrent and attention
    operators are not read.

    Args:
        model: with its weights; it is not changed.
    """
    model = inlined(model)
    reader = _Reader(model)
    named = zip(model.graph.node, node_names(model.graph), strict=True)
    layers = (reader.layer(node, name) for node, name in named if node.op_type not in _QUANTISERS)
    return tuple(layer for layer in layers if layer is not None)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A constant behind a value, and what makes real numbers of it."""

    tensor: TensorProto
    dtype: int
    scale: str | None
    blocked: bool


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._index = GraphIndex(model.graph)
        self._types = value_types(model)
        self._images = images_per_run(model)

    def layer(self, node: onnx.NodeProto, name: str) -> GraphLayer | None:
        """``node`` as a layer of that name; None if it neither multiplies nor works on quantised numbers."""
        if node.op_type in _PRODUCTS:
            return self._product(node, name, _PRODUCTS[node.op_type])
        inputs = self._inputs(node)
        if node.op_type == "Shape" or (not inputs and node.op_type not in _OTHERS):
            return None
        output = self._output(node)
        stays_integer = bool(inputs) and output is not None
        return GraphLayer(
            node=name,
            op=node.op_type,
            output_shape=self._shape(node.output[0]),
            precision=_kind_of_name(inputs[0].dtype) if stays_integer else _kind(self._dtype(node.output[0])),
            macs=0,
            inputs=inputs,
            output=output,
        )

    def _product(self, node: onnx.NodeProto, name: str, places: _Places) -> GraphLayer:
        assert places.weight is not None
        stored = self._stored(node.input[places.weight])
        elements = prod(stored.tensor.dims) if stored else 0
        return GraphLayer(
            node=name,
            op=node.op_type,
            output_shape=self._shape(node.output[0]),
            precision=self._precision(node, places, stored),
            macs=self._macs(node, places.weight),
            weights=_nbits_weights(node) if node.op_type == "MatMulNBits" else elements,
            weight_bytes=stored_bytes(stored.tensor.data_type, elements) if stored else 0,
            weight_scales=self._weight_scales(node, places, stored) if stored else None,
            inputs=self._inputs(node),
            output=self._output(node),
        )

    def _shape(self, name: str) -> tuple[int, ...] | None:
        return self._types.get(name, ValueType(TensorProto.UNDEFINED, None)).shape

    def _stored(self, name: str) -> _Stored | None:
        """The constant that ``name`` is made of; None for an activation."""
        scale, dtype, blocked = None, None, False
        while name not in self._index.constants:
            node = self._index.producers.get(name)
            if node is None or not (node.op_type in _STORAGE | _QUANTISERS or self._scales_integers(node)):
                return None
            if node.op_type == "Mul":
                scale = node.input[1]
            elif node.op_type == "DequantizeLinear":
                scale, blocked = node.input[1], attribute(node, "block_size", 0) > 0
                dtype = self._types.get(node.input[0], ValueType(TensorProto.UNDEFINED, None)).dtype or None
            name = node.input[0]
        tensor = self._index.constants[name]
        return _Stored(tensor, dtype or tensor.data_type, scale, blocked)

    def _scales_integers(self, node: onnx.NodeProto) -> bool:
        """Whether it dequantises by hand: constant integers, cast, times constant scales."""
        cast = self._index.producers.get(node.input[0]) if node.op_type == "Mul" else None
        if cast is None or cast.op_type != "Cast" or node.input[1] not in self._index.constants:
            return False
        tensor = self._index.constants.get(cast.input[0])
        return tensor is not None and tensor.data_type in {TensorProto.INT8, TensorProto.UINT8}

    def _precision(self, node: onnx.NodeProto, places: _Places, stored: _Stored | None) -> str:
        """What the product is written in; a weight that is an activation counts as one."""
        assert places.weight is not None
        if node.op_type == "MatMulNBits":
            return f"weights-int{attribute(node, 'bits', 4)}"
        weight = self._quantised_weight(node, places, stored)
        if weight is None:
            return _kind(self._dtype(node.input[places.weight]))
        activation = self._quantised_activation(node)
        if activation is None:
            return f"weights-{weight}"
        return weight if activation == weight else f"{activation}x{weight}"

    def _quantised_weight(self, node: onnx.NodeProto, places: _Places, stored: _Stored | None) -> str | None:
        assert places.weight is not None
        if stored is not None:
            integers = stored.scale is not None or node.op_type in _INTEGER or places is _QLINEAR
            return _kind(stored.dtype) if integers else None
        maker = self._index.producers.get(node.input[places.weight])
        if maker is not None and maker.op_type == "DequantizeLinear":
            return _kind(self._dtype(maker.input[0]))
        return None

    def _quantised_activation(self, node: onnx.NodeProto) -> str | None:
        name = node.input[0]
        if node.op_type in _INTEGER or node.op_type in ("QLinearConv", "QLinearMatMul"):
            return "int8" if node.op_type == "DynamicQuantizeMatMul" else _kind(self._dtype(name))
        maker = self._index.producers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return None
        return _kind(self._dtype(maker.input[0]))

    def _dtype(self, name: str) -> int:
        return self._types.get(name, ValueType(TensorProto.UNDEFINED, None)).dtype

    def _macs(self, node: onnx.NodeProto, weight: int) -> int | None:
        data, output = self._shape(node.input[0]), self._shape(node.output[0])
        per_number = _macs_per_number(node, self._shape(node.input[weight]))
        numbers = data if node.op_type == "ConvTranspose" else output
        if numbers is None or per_number is None:
            return None
        return prod(numbers) * per_number // self._images

    def _weight_scales(self, node: onnx.NodeProto, places: _Places, stored: _Stored) -> WeightScales | None:
        at = places.weight_scale
        name = stored.scale if at is None else node.input[at]
        values = self._index.array(name) if name else None
        if values is None or values.size == 0:
            return None
        bits = attribute(node, "bits", 4)
        packed = node.op_type == "MatMulNBits"
        return WeightScales(
            dtype=f"uint{bits}" if packed else _numpy_name(stored.dtype),
            low=float(values.min()),
            high=float(values.max()),
            count=values.size,
            granularity=_granularity(values.size, blocked=stored.blocked or packed),
        )

    def _inputs(self, node: onnx.NodeProto) -> tuple[ActivationRange, ...]:
        """The ranges of the quantised activations that ``node`` takes in."""
        if node.op_type == "QLinearConcat":
            pairs: Sequence[tuple[int, int]] = [(at + 1, at + 2) for at in range(2, len(node.input), 3)]
        else:
            pairs = (_PRODUCTS.get(node.op_type) or _OTHERS.get(node.op_type, _FLOAT)).inputs
        ranges = [self._range_at(node, pair) for pair in pairs] or [
            self._range_of(self._index.producers[name])
            for name in node.input
            if name in self._index.producers
            and self._index.producers[name].op_type == "DequantizeLinear"
            and self._stored(name) is None
        ]
        return tuple(found for found in ranges if found is not None)

    def _output(self, node: onnx.NodeProto) -> ActivationRange | None:
        if node.op_type == "QLinearConcat":
            return self._range_at(node, (0, 1))
        places = _PRODUCTS.get(node.op_type) or _OTHERS.get(node.op_type)
        if places is not None and places.output is not None:
            return self._range_at(node, places.output)
        users = self._index.consumers.get(node.output[0], [])
        for user in users:
            if user.op_type == "QuantizeLinear":
                return self._range_of(user)
        if len(users) == 1 and users[0].op_type in _FUSED:
            return self._output(users[0])
        return None

    def _range_of(self, quantiser: onnx.NodeProto) -> ActivationRange | None:
        """Of a QuantizeLinear or DequantizeLinear."""
        integers = quantiser.input[0] if quantiser.op_type == "DequantizeLinear" else quantiser.output[0]
        return self._range_at(quantiser, (1, 2), self._dtype(integers))

    def _range_at(
        self, node: onnx.NodeProto, pair: tuple[int, int], dtype: int = TensorProto.UNDEFINED
    ) -> ActivationRange | None:
        """The range that the inputs at ``pair`` of ``node`` give, if they are constants."""
        scale = self._index.array(node.input[pair[0]]) if pair[0] < len(node.input) else None
        zero_name = node.input[pair[1]] if pair[1] < len(node.input) else ""
        zero = self._index.array(zero_name)
        if scale is None or scale.size != 1 or (zero_name and zero is None):
            return None
        stored = self._index.constants[zero_name].data_type if zero_name else dtype or TensorProto.UINT8
        return _activation_range(stored, float(scale.item()), 0 if zero is None else int(zero.item()))


def _kind(dtype: int) -> str:
    return _KINDS.get(TensorProto.DataType.Name(dtype), "unknown")


def _kind_of_name(numpy_name: str) -> str:
    return _kind(helper.np_dtype_to_tensor_dtype(np.dtype(numpy_name)))


def _numpy_name(dtype: int) -> str:
    return helper.tensor_dtype_to_np_dtype(dtype).name


def _nbits_weights(node: onnx.NodeProto) -> int:
    return int(attribute(node, "K", 0)) * int(attribute(node, "N", 0))


def _granularity(scales: int, *, blocked: bool) -> Granularity:
    if blocked:
        return "blocked"
    return "per-channel" if scales > 1 else "per-tensor"


def _macs_per_number(node: onnx.NodeProto, weight: tuple[int, ...] | None) -> int | None:
    """Multiply-accumulates per number of the output; per number of the input of a transposed convolution.

    A weight of a convolution is (M, C / group, ...), that of a transposed one (C, M / group, ...): what
    follows the first dimension is what each number meets.
    """
    if node.op_type == "MatMulNBits":
        return int(attribute(node, "K", 0))
    if weight is None:
        return None
    if "Conv" in node.op_type:
        return prod(weight[1:])
    if attribute(node, "transB", 0):
        return weight[-1]
    return weight[-2] if len(weight) > 1 else weight[0]


def _activation_range(dtype: int, scale: float, zero_point: int) -> ActivationRange | None:
    numpy_dtype = helper.tensor_dtype_to_np_dtype(dtype)
    if numpy_dtype.kind not in "iu":
        return None
    limits = np.iinfo(numpy_dtype)
    return ActivationRange(
        dtype=numpy_dtype.name,
        scale=scale,
        zero_point=zero_point,
        low=(limits.min - zero_point) * scale,
        high=(limits.max - zero_point) * scale,
    )

"""Explicit int8 as TensorRT wants it: which values get Q/DQ, and with which scales.

ONNX Runtime's quantiser puts Q/DQ on the output of every node that it knows, and would have to be undone
after most convolutions: TensorRT fuses a convolution with the activation and the sum behind it only when
nothing stands between them (TensorRT developer guide, "Explicit quantization": Q/DQ placement). So the places
are chosen here, from the consumers' side: a value is quantised where something reads it that computes in
int8. What TensorRT moves Q/DQ through by itself (MaxPool, Concat, Reshape, Transpose, ...) is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgecnn.errors import QuantizationError
from edgecnn.graph.index import GraphIndex, attribute
from edgecnn.graph.reading import require_nodes
from edgecnn.quantize.ranges import Range

__all__ = ["quantize_for_tensorrt"]

#: Operator -> which of its inputs are quantised; a third one, the bias, never is.
_PLACES: Mapping[str, tuple[int, ...]] = {
    "Conv": (0, 1),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "AveragePool": (0,),
    "GlobalAveragePool": (0,),
}

#: Symmetric: -128 is left out, so that negation is exact.
_LARGEST = 127

_TINIEST = float(np.finfo(np.float32).tiny)


def quantize_for_tensorrt(
    model: onnx.ModelProto, ranges: Mapping[str, Range], keep_float: Collection[str] = ()
) -> onnx.ModelProto:
    """A copy of ``model`` with the Q/DQ nodes of TensorRT's explicit quantisation.

    Everything is int8 with the zero point 0: weights per output channel and stored in int8, activations with
    one scale. Quantised are the inputs of convolutions, matrix products and average pools, and, of a sum
    that a convolution goes into, the other branch. Values read by several of them share one Q/DQ.

    Args:
        model: float32, opset 13 or later, batch norm folded, weights inside; it is not changed.
        ranges: value -> (low, high) that calibration found for it, for every activation.
        keep_float: names of nodes whose inputs stay float, weights included.

    Raises:
        QuantizationError: a range is missing or not finite, or weights are not finite float32.
        UnknownNameError: ``keep_float`` names no node of the model.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    require_nodes(result, keep_float)
    _Rewriting(result.graph, ranges).run(frozenset(keep_float))
    return result


def _places(node: onnx.NodeProto, index: GraphIndex, keep_float: Collection[str]) -> tuple[int, ...]:
    """Which inputs of ``node`` are quantised."""
    if node.name in keep_float:
        return ()
    identity = _identity_branch(node, index, keep_float)
    return _PLACES.get(node.op_type, ()) if identity is None else (identity,)


def _identity_branch(node: onnx.NodeProto, index: GraphIndex, keep_float: Collection[str]) -> int | None:
    """Which input of a sum is quantised: the one that is not a convolution's; None where it is no such sum.

    TensorRT computes the sum in the epilogue of the convolution that makes the other one. Of two convolutions
    it can be either; the second is then the shortcut, as networks write ``main + shortcut``.
    """
    if node.op_type != "Add" or any(name in index.constants for name in node.input):
        return None
    makers = [index.producers.get(name) if len(index.consumers[name]) == 1 else None for name in node.input]
    for place, maker in enumerate(makers):
        if maker is not None and maker.op_type == "Conv" and maker.name not in keep_float:
            return 1 - place
    return None


class _Rewriting:
    """One graph while it is rewritten. Quantised values are remembered, so that each is quantised once."""

    def __init__(self, graph: onnx.GraphProto, ranges: Mapping[str, Range]) -> None:
        self._graph = graph
        self._ranges = ranges
        self._index = GraphIndex(graph)
        self._nodes: list[onnx.NodeProto] = []
        self._dequantised: dict[tuple[str, int | None], str] = {}

    def run(self, keep_float: Collection[str]) -> None:
        nodes = list(self._graph.node)
        for node in nodes:
            for place in _places(node, self._index, keep_float):
                node.input[place] = self._quantised(node, place)
            self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        _drop_unused(self._graph, {name for name, _ in self._dequantised})

    def _quantised(self, node: onnx.NodeProto, place: int) -> str:
        """The dequantised form of an input of ``node``, made now if it is not there yet."""
        name = node.input[place]
        array = self._index.array(name)
        axis = None if array is None else _channel_axis(node, array)
        key = (name, axis)
        if key not in self._dequantised:
            self._dequantised[key] = (
                self._activation(node, name) if array is None else self._weights(node, name, array, axis)
            )
        return self._dequantised[key]

    def _activation(self, node: onnx.NodeProto, name: str) -> str:
        scale = np.array(_scale(_magnitude(name, node, self._ranges)), np.float32)
        names = self._constants(name, scale)
        quantised = f"{name}/quantized"
        self._add("QuantizeLinear", [name, *names], quantised)
        return self._add("DequantizeLinear", [quantised, *names], f"{name}/dequantized")

    def _weights(self, node: onnx.NodeProto, name: str, array: NDArray[Any], axis: int | None) -> str:
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise QuantizationError(
                f"The weights {name!r} of {node.name!r} are not finite float32 numbers.",
                f"Quantise the float32 export, or leave the node in float: --keep-float {node.name}",
            )
        stem = name if axis is None else f"{name}/axis{axis}"
        scales = _weight_scales(array, axis)
        steps = np.rint(array / _along(scales, axis, array.ndim)).astype(np.int8)
        names = self._constants(stem, scales)
        self._store(f"{stem}/quantized", steps)
        return self._add("DequantizeLinear", [f"{stem}/quantized", *names], f"{stem}/dequantized", axis)

    def _constants(self, stem: str, scale: NDArray[np.float32]) -> tuple[str, str]:
        """The names of a scale and its zero point, now stored."""
        self._store(f"{stem}/scale", scale)
        self._store(f"{stem}/zero_point", np.zeros(scale.shape, np.int8))
        return f"{stem}/scale", f"{stem}/zero_point"

    def _store(self, name: str, array: NDArray[Any]) -> None:
        self._graph.initializer.append(numpy_helper.from_array(array, name))

    def _add(self, kind: str, inputs: list[str], output: str, axis: int | None = None) -> str:
        node = helper.make_node(kind, inputs, [output], name=output.rpartition("/")[0] + f"/{kind}")
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self._nodes.append(node)
        return output


def _channel_axis(node: onnx.NodeProto, weights: NDArray[Any]) -> int | None:
    """The axis of the output channels; None where the weights are one vector, which has none."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return weights.ndim - 1 if weights.ndim > 1 else None


def _weight_scales(weights: NDArray[np.float32], axis: int | None) -> NDArray[np.float32]:
    """(channels,) or () float32."""
    others = tuple(other for other in range(weights.ndim) if other != axis)
    largest = np.abs(weights).max(axis=others, initial=0.0)
    return np.array(np.vectorize(_scale, otypes=[np.float32])(largest), np.float32)


def _along(scales: NDArray[np.float32], axis: int | None, dimensions: int) -> NDArray[np.float32]:
    """``scales`` in the shape in which they divide weights of so many dimensions."""
    return scales.reshape([-1 if axis == dimension else 1 for dimension in range(dimensions)])


def _scale(magnitude: float) -> float:
    """The step of a symmetric int8 range; 1 for what is always 0, as TensorRT refuses a scale of 0."""
    step = magnitude / _LARGEST
    return step if step >= _TINIEST else 1.0


def _magnitude(name: str, node: onnx.NodeProto, ranges: Mapping[str, Range]) -> float:
    if name not in ranges:
        raise QuantizationError(
            f"Calibration gave no range for {name!r}, which {node.name!r} reads.",
            "Calibrate every activation of this very graph, after all rewriting.",
        )
    low, high = ranges[name]
    if not (math.isfinite(low) and math.isfinite(high)):
        raise QuantizationError(
            f"The range of {name!r}, which {node.name!r} reads, is {low} to {high}.",
            "Look for NaN or infinity in the weights, or in the images that it was calibrated with.",
        )
    return max(abs(low), abs(high))


def _drop_unused(graph: onnx.GraphProto, replaced: Collection[str]) -> None:
    """Remove float weights of which only the quantised form is still read."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    gone = {name for name in replaced if name not in read}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in gone]:
        graph.initializer.remove(tensor)
    for value in [value for value in graph.input if value.name in gone]:
        graph.input.remove(value)
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] in gone]:
        graph.node.remove(node)

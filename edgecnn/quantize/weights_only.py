"""Weights stored as 8-bit integers, arithmetic in float: for the size of the file alone.

The weights come back by Cast and Mul, not by DequantizeLinear: ONNX Runtime folds the former into float
weights once, when it opens the file, and then runs as fast as the float model. DequantizeLinear it leaves
where it is, so that each run dequantises all weights again, and convolutions lose the fusion with what
follows (ONNX Runtime 1.31, one thread: MobileNetV2 15.1 ms instead of 7.7, ResNet-50 101 ms instead of 77).
To OpenVINO both forms are the same. TensorRT for RTX 1.5 refuses the former and builds the latter.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn.errors import QuantizationError
from edgecnn.graph.index import GraphIndex, attribute, opset_version
from edgecnn.graph.reading import require_nodes

__all__ = ["quantize_weights"]

#: From here on Mul broadcasts by itself, and DequantizeLinear has an axis.
_MIN_OPSET, _MIN_OPSET_DEQUANTIZE = 7, 13

#: Weights of no more values per output channel, 5 x 5 depthwise and RGB stems of 3 x 3 among them, stay in
#: float: on MobileNetV2 (ImageNet) that is 2 % of the file for 7 dB of SQNR (20.8 to 27.7 dB).
_FEW_PER_CHANNEL = 32

_LARGEST = 127


def quantize_weights(
    model: onnx.ModelProto, keep_float: Collection[str] = (), *, dequantize_linear: bool = False
) -> onnx.ModelProto:
    """A copy of ``model`` whose weights are stored as int8, with one float32 scale per output channel.

    Nearly a quarter as large. Names and types of input and output, the dynamic batch, the opset, the model's
    metadata and the names of nodes stay; a Cast and a Mul are added for each weight. No weight is further off
    than half a step, ``max(abs(channel)) / 127 / 2``. Weights of at most 32 values per channel stay in float.

    Args:
        model: in float32, opset 7 or later; 13 with ``dequantize_linear``.
        keep_float: names of nodes whose weights stay in float32.
        dequantize_linear: add a DequantizeLinear for each weight instead, as TensorRT wants it.

    Raises:
        QuantizationError: the opset is older, weights are NaN or infinite, or no Conv, ConvTranspose, Gemm or
            MatMul is left that multiplies with constant float32 weights.
        UnknownNameError: no node has a name in ``keep_float``.
    """
    require_nodes(model, keep_float)
    _require_opset(model, _MIN_OPSET_DEQUANTIZE if dequantize_linear else _MIN_OPSET)
    small = onnx.ModelProto()
    small.CopyFrom(model)
    storage = _Storage(small.graph, dequantize_linear=dequantize_linear)
    for node in small.graph.node:
        if node.name not in keep_float:
            storage.reduce(node)
    if not storage.nodes:
        raise QuantizationError(
            "The model has no weights to store as integers: no convolution or matrix product with constant "
            f"float32 weights of more than {_FEW_PER_CHANNEL} values per channel that may be changed.",
            "Check it with 'edgecnn inspect', and what --keep-float names.",
        )
    storage.finish()
    return small


def _require_opset(model: onnx.ModelProto, minimum: int) -> None:
    if opset_version(model) < minimum:
        raise QuantizationError(
            f"The model is in opset {opset_version(model)}, and weights stored as integers need {minimum}.",
            "Export it again: edgecnn export NET --opset 18",
        )


class _Storage:
    """Replaces the weights of a graph, one node at a time.

    Attributes:
        nodes: what makes float weights of the stored ones.
    """

    def __init__(self, graph: onnx.GraphProto, *, dequantize_linear: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._dequantize_linear = dequantize_linear
        self._graph = graph
        self._index = GraphIndex(graph)
        self._restored: dict[tuple[str, int], str] = {}

    def reduce(self, node: onnx.NodeProto) -> None:
        """Have ``node`` read its weights from integers, if it has constant ones in float32."""
        axis = _channel_axis(node)
        if axis is None:
            return
        name = node.input[1]
        tensor = self._index.constants.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT:
            return
        weights = numpy_helper.to_array(tensor)
        axis %= max(weights.ndim, 1)
        if weights.size <= _FEW_PER_CHANNEL * (weights.shape[axis] if weights.ndim > 1 else 1):
            return
        if (name, axis) not in self._restored:
            self._restored[name, axis] = self._store(name, weights, axis, node.name)
        node.input[1] = self._restored[name, axis]

    def finish(self) -> None:
        """Put the added nodes first, and remove float weights that nothing reads any more."""
        nodes = [*self.nodes, *self._graph.node]
        read = {name for node in nodes for name in node.input} | {out.name for out in self._graph.output}
        gone = {name for name, _ in self._restored if name not in read}
        nodes = [node for node in nodes if not gone.intersection(node.output)]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        for entries in (self._graph.initializer, self._graph.input, self._graph.value_info):
            for entry in [entry for entry in entries if entry.name in gone]:
                entries.remove(entry)  # type: ignore[arg-type]  # each from where it is

    def _store(self, name: str, weights: NDArray[np.float32], axis: int, reader: str) -> str:
        """Store ``weights`` as integers and scales; the name of the value that they give together."""
        if not np.isfinite(weights).all():
            raise QuantizationError(
                f"The weights {name!r} of {reader!r} hold NaN or infinity.",
                "Train or export the model again.",
            )
        stem = f"{name}/axis{axis}"
        steps, scales = _rounded(weights, axis)
        stored = self._constant(f"{stem}/quantized", steps)
        if self._dequantize_linear:
            scales = scales.ravel() if weights.ndim > 1 else scales.reshape(())
            zero = self._constant(f"{stem}/zero_point", np.zeros(scales.shape, np.int8))
            inputs = [stored, self._constant(f"{stem}/scale", scales), zero]
            return self._add(helper.make_node("DequantizeLinear", inputs, [f"{stem}/restored"], axis=axis))
        cast = self._add(helper.make_node("Cast", [stored], [f"{stem}/cast"], to=TensorProto.FLOAT))
        inputs = [cast, self._constant(f"{stem}/scale", scales)]
        return self._add(helper.make_node("Mul", inputs, [f"{stem}/restored"]))

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _add(self, node: onnx.NodeProto) -> str:
        """Named after the value that it makes, which is returned."""
        node.name = node.output[0]
        self.nodes.append(node)
        return node.name


def _channel_axis(node: onnx.NodeProto) -> int | None:
    """The axis of the output channels in the weights of ``node``; None for other operators."""
    axes = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return axes.get(node.op_type)


def _rounded(weights: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers of the shape of ``weights``, and scales that broadcast to it; a vector has one scale."""
    others = tuple(at for at in range(weights.ndim) if at != axis or weights.ndim < 2)
    scales = np.abs(weights).max(axis=others, keepdims=True, initial=0.0) / np.float32(_LARGEST)
    scales[scales < np.finfo(np.float32).tiny] = 1.0  # what is always 0, or would be below float's accuracy
    steps = np.clip(np.rint(weights / scales), -_LARGEST, _LARGEST).astype(np.int8)
    return steps, scales.astype(np.float32)

"""What OpenVINO must not be given in int8, since it would answer wrongly."""

from __future__ import annotations

import onnx

from edgecnn.artifact import graph_input
from edgecnn.graph.index import GraphIndex

__all__ = ["misread_nodes"]

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_SHAPES = frozenset({"Shape", "Size"})


def misread_nodes(model: onnx.ModelProto) -> frozenset[str]:
    """The nodes to leave in float: up to the first weights, in graphs that compute with the number of images.

    Where that number goes into more than the shape of a Reshape (a Range that indices are made of, an Expand,
    a Slice), OpenVINO reads it off one of the first results, whichever value the graph names; and an int8
    convolution whose result has a second reader answers wrongly (seen in 2026.4). One in float does not.

    Args:
        model: in float; its constants are initialisers.

    Returns:
        Names; mostly none. PyTorch's exporter makes such graphs of ``as_strided``, as of a pooling of
        channels-last images.
    """
    if all(isinstance(size, int) for size in graph_input(model).shape):  # every number is known beforehand
        return frozenset()
    return _up_to_first_weights(model) if _computes_with_shapes(model) else frozenset()


def _computes_with_shapes(model: onnx.ModelProto) -> bool:
    """Whether a value that comes of a shape meets one that comes of the input, other than in a Reshape."""
    index = GraphIndex(model.graph)
    counted: set[str] = set()
    for node in model.graph.node:
        if node.op_type in _SHAPES:
            counted.update(node.output)
        elif not counted.isdisjoint(node.input):
            if all(name in counted or not name or index.is_constant(name) for name in node.input):
                counted.update(node.output)
            elif node.op_type != "Reshape":
                return True
    return False


def _up_to_first_weights(model: onnx.ModelProto) -> frozenset[str]:
    """What reads the input, or values made of it without weights."""
    values, found = {graph_input(model).name}, set()
    for node in model.graph.node:
        if node.op_type in _SHAPES or values.isdisjoint(node.input):
            continue
        found.add(node.name)
        if node.op_type not in _WEIGHTED:
            values.update(node.output)
    return frozenset(found - {""})

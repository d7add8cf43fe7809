"""Pixels converted before their layout is changed: TensorRT's parser transposes no uint8."""

from __future__ import annotations

from itertools import chain

import onnx
from onnx import TensorProto

from edgecnn.graph.index import GraphIndex

__all__ = ["cast_before_transpose"]


def cast_before_transpose(model: onnx.ModelProto) -> int:
    """Exchange every Transpose of uint8 with the Casts that alone read it.

    Both move or convert one number at a time, so that the results stay the same to the last bit.

    Args:
        model: changed in place; names of nodes stay.

    Returns:
        How many were exchanged.
    """
    index = GraphIndex(model.graph)
    bytes_ = _uint8_values(model.graph)
    exchanged = [
        node
        for node in model.graph.node
        if node.op_type == "Transpose" and node.input[0] in bytes_ and _only_cast(node, index)
    ]
    for node in exchanged:
        _exchange(model.graph, node, index)
    return len(exchanged)


def _uint8_values(graph: onnx.GraphProto) -> set[str]:
    return {
        value.name
        for value in chain(graph.input, graph.value_info)
        if value.type.tensor_type.elem_type == TensorProto.UINT8
    }


def _only_cast(node: onnx.NodeProto, index: GraphIndex) -> bool:
    readers = index.consumers[node.output[0]]
    is_output = node.output[0] in index.outputs
    return bool(readers) and not is_output and all(reader.op_type == "Cast" for reader in readers)


def _exchange(graph: onnx.GraphProto, transpose: onnx.NodeProto, index: GraphIndex) -> None:
    """Give each Cast the bytes, and a Transpose of its own behind it, in the places of both."""
    position = next(at for at, node in enumerate(graph.node) if node is transpose)
    for number, cast in enumerate(index.consumers[transpose.output[0]]):
        moved = onnx.NodeProto()
        moved.CopyFrom(transpose)
        moved.name = transpose.name if number == 0 else f"{transpose.name}_{number}"
        moved.input[:] = [f"{cast.output[0]}/bytes_cast"]
        moved.output[:] = [cast.output[0]]
        cast.input[:] = [transpose.input[0]]
        cast.output[:] = [moved.input[0]]
        behind = next(at for at, node in enumerate(graph.node) if node is cast)
        graph.node.insert(behind + 1, moved)
    graph.node.pop(position)
    stale = [value for value in graph.value_info if value.name == transpose.output[0]]
    for value in stale:
        graph.value_info.remove(value)

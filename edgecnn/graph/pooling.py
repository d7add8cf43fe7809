"""Means over height and width as the one operator that engines have an int8 kernel for."""

from __future__ import annotations

import onnx

from edgecnn.graph.index import GraphIndex, attribute

__all__ = ["pool_globally"]


def pool_globally(model: onnx.ModelProto) -> int:
    """Replace each ReduceMean over dimensions 2 and 3 of 4 by GlobalAveragePool.

    ONNX Runtime's GlobalAveragePool has an int8 kernel, its ReduceMean has none, so that the squeeze of every
    squeeze-excite block would leave int8. Without ``keepdims``, a Flatten drops the two dimensions.

    Args:
        model: changed in place; needs the types of its values (onnx.shape_inference) only to tell a mean
            over dimensions -1 and -2, which is replaced where the value is known to have four.

    Returns:
        How many were replaced.
    """
    index = GraphIndex(model.graph)
    ranks = _ranks(model)
    nodes: list[onnx.NodeProto] = []
    replaced = 0
    for node in model.graph.node:
        if _averages_images(node, index, ranks):
            nodes += _pooling(node)
            replaced += 1
        else:
            nodes.append(node)
    if replaced:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    return replaced


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values}


def _averages_images(node: onnx.NodeProto, index: GraphIndex, ranks: dict[str, int]) -> bool:
    if node.op_type != "ReduceMean" or ranks.get(node.input[0]) != 4:
        return False
    return sorted(axis % 4 for axis in _axes(node, index)) == [2, 3]


def _axes(node: onnx.NodeProto, index: GraphIndex) -> list[int]:
    """An attribute up to opset 17, an input from 18 on."""
    if len(node.input) > 1 and index.is_constant(node.input[1]):
        return [int(axis) for axis in index.constant(node.input[1]).ravel()]
    return [int(axis) for axis in attribute(node, "axes", [])]


def _pooling(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """It keeps the name of the node that it replaces, by which users know it."""
    source, result = node.input[0], node.output[0]
    if attribute(node, "keepdims", 1):
        return [onnx.helper.make_node("GlobalAveragePool", [source], [result], name=node.name)]
    pooled = f"{result}/pooled"
    return [
        onnx.helper.make_node("GlobalAveragePool", [source], [pooled], name=node.name),
        onnx.helper.make_node("Flatten", [pooled], [result], name=f"{node.name}/Flatten", axis=1),
    ]

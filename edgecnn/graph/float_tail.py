"""Leaves the end of a quantised model in float: scores of 8 bits tie, and cost more than they save."""

from __future__ import annotations

import onnx

from edgecnn.graph.index import GraphIndex

__all__ = ["free_output"]

#: What may stand between the last weighted layer and the output, and works in float as well.
_TAIL = frozenset({"Reshape", "Flatten", "Squeeze", "Identity", "GlobalAveragePool", "Softmax"})


def free_output(model: onnx.ModelProto) -> int:
    """Remove the Q/DQ pairs at the output and behind a global pooling that ends the model.

    A last product then returns its sums, scaled, as they are; a last pooling averages numbers that are
    quantised and returns them in float.

    Args:
        model: changed in place.

    Returns:
        How many pairs were removed.
    """
    removed = 0
    while _remove_last_pair(model):
        removed += 1
    return removed


def _remove_last_pair(model: onnx.ModelProto) -> bool:
    index = GraphIndex(model.graph)
    for output in model.graph.output:
        node = index.producers.get(output.name)
        while node is not None and node.op_type in _TAIL:
            pooled = node.op_type == "GlobalAveragePool"
            node = None if pooled else index.producers.get(node.input[0])
        pair = _pair(node, index)
        if pair is not None:
            _bypass(model, index, *pair)
            return True
    return False


def _pair(node: onnx.NodeProto | None, index: GraphIndex) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """The QuantizeLinear before ``node``, a DequantizeLinear that alone reads it."""
    if node is None or node.op_type != "DequantizeLinear":
        return None
    before = index.producers.get(node.input[0])
    if before is None or before.op_type != "QuantizeLinear" or len(index.consumers[node.input[0]]) > 1:
        return None
    return before, node


def _bypass(
    model: onnx.ModelProto, index: GraphIndex, quantise: onnx.NodeProto, dequantise: onnx.NodeProto
) -> None:
    value, result = quantise.input[0], dequantise.output[0]
    maker = index.producers.get(value)
    if result in index.outputs and maker is not None:  # the output keeps its name
        maker.output[:] = [result if name == value else name for name in maker.output]
        for reader in index.consumers[value]:
            reader.input[:] = [result if name == value else name for name in reader.input]
    else:
        for reader in index.consumers[result]:
            reader.input[:] = [value if name == result else name for name in reader.input]
    model.graph.node.remove(quantise)
    model.graph.node.remove(dequantise)

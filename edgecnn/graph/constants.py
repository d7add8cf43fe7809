"""Constants stored in one way: as initialisers, which is where all that rewrites weights looks for them."""

from __future__ import annotations

import onnx

from edgecnn.graph.index import GraphIndex

__all__ = ["store_constants"]


def store_constants(model: onnx.ModelProto) -> int:
    """Turn ``Constant`` nodes of the main graph, and each ``Identity`` of a constant, into initialisers.

    Frameworks write weights as ``Constant`` nodes; PyTorch's older exporter stores equal biases once and
    hands them on by ``Identity``.

    Returns:
        How many nodes are gone.
    """
    graph = model.graph
    constants = GraphIndex(graph).constants
    present = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        tensor = constants.get(node.input[0] if node.op_type == "Identity" else node.output[0])
        if tensor is None or node.op_type not in {"Constant", "Identity"} or node.output[0] in outputs:
            kept.append(node)
            continue
        stored = onnx.TensorProto()
        stored.CopyFrom(tensor)
        stored.name = node.output[0]
        constants[stored.name] = stored
        if stored.name not in present:
            graph.initializer.append(stored)
    gone = len(graph.node) - len(kept)
    if gone:
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)
    return gone

"""Constants stored in one way, where all that rewrites weights looks for them: as initialisers alone."""

from __future__ import annotations

import onnx

from edgecnn.graph.index import GraphIndex

__all__ = ["drop_constant_inputs", "store_constants"]

#: Files of before list every initialiser as an input, too; ONNX demands it of them.
_FIRST_WITHOUT = 4


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


def drop_constant_inputs(model: onnx.ModelProto) -> int:
    """Take the initialisers out of the inputs of the main graph: what is left is fed.

    Listed there, they could be replaced from run to run, so that no engine may compute with them ahead; and
    they may stand before the image.

    Returns:
        How many are gone.
    """
    constant = {tensor.name for tensor in model.graph.initializer}
    listed = [value for value in model.graph.input if value.name in constant]
    for value in listed:
        model.graph.input.remove(value)
    if listed:
        model.ir_version = max(model.ir_version, _FIRST_WITHOUT)
    return len(listed)

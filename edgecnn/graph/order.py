"""Nodes in the order that ONNX demands, and no constants that nobody reads."""

from __future__ import annotations

from graphlib import TopologicalSorter

import onnx

__all__ = ["tidy"]


def tidy(model: onnx.ModelProto) -> None:
    """Sort the nodes of the main graph topologically, and remove the initialisers that no node reads."""
    graph = model.graph
    makers = {name: at for at, node in enumerate(graph.node) for name in node.output if name}
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for at, node in enumerate(graph.node):
        sorter.add(at, *sorted({makers[name] for name in node.input if name in makers}))
    nodes = [graph.node[at] for at in sorter.static_order()]
    copies = [onnx.NodeProto() for _ in nodes]
    for copy, node in zip(copies, nodes, strict=True):
        copy.CopyFrom(node)
    del graph.node[:]
    graph.node.extend(copies)
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    if len(kept) < len(graph.initializer):
        copies_of = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del graph.initializer[:]
        graph.initializer.extend(copies_of)

"""A name of its own for every node: ONNX asks for none, nor that two nodes have different ones."""

from __future__ import annotations

from collections import Counter

import onnx

__all__ = ["name_apart", "node_names"]


def node_names(graph: onnx.GraphProto) -> list[str]:
    """The names by which nodes are told apart, in the order of the graph.

    A node's own where no other has it, else that of the first value that it makes: no two nodes make one
    value. Should a node be called as the value of another is, a number follows: ``_2``, ``_3``, ....
    """
    shared = Counter(node.name for node in graph.node)
    taken = {name for name, count in shared.items() if name and count == 1}
    names: list[str] = []
    for node in graph.node:
        own = node.name if shared[node.name] == 1 else ""
        names.append(own or _free(next(filter(None, node.output), node.op_type), taken))
        taken.add(names[-1])
    return names


def name_apart(graph: onnx.GraphProto) -> int:
    """Give the nodes of ``graph`` their :func:`node_names`, in place.

    Returns:
        How many were renamed.
    """
    renamed = 0
    for node, name in zip(graph.node, node_names(graph), strict=True):
        renamed += node.name != name
        node.name = name
    return renamed


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free

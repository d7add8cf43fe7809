"""Which nodes to leave in float so that an activation, or a squeeze-excite branch, is not rounded."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from edgecnn.graph.index import GraphIndex
from edgecnn.graph.shapes import ValueType, value_types

__all__ = ["Site", "activation_site", "block_sites", "excite_branches"]

#: The leading part of a node's name that stands for a block: "features.2.0" of "features.2.0.block.1/Conv".
_BLOCK = re.compile(r"^[^/\d.][^/.]*(?:\.\d+)+")

#: Nodes that only pass on what another computed.
_PASSING = frozenset({"Relu", "Clip", "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"})


@dataclass(frozen=True, slots=True)
class Site:
    """Nodes that are left in float together.

    Attributes:
        name: what to call it in reports.
        nodes: their names.
    """

    name: str
    nodes: frozenset[str]


def activation_site(model: onnx.ModelProto, activation: str) -> Site:
    """Whoever makes and whoever reads ``activation``: with all of them in float, it is never rounded."""
    index = GraphIndex(model.graph)
    nodes = {node.name for node in _makers(activation, index)}
    nodes |= {node.name for node in _readers(activation, index)}
    return Site(activation, frozenset(nodes))


def block_sites(model: onnx.ModelProto, noise: Mapping[str, float]) -> list[Site]:
    """The network's blocks as the names of its modules tell them, those with the most noise first.

    Args:
        model: with nodes named by module; others have no blocks.
        noise: activation -> what rounding it alone adds.
    """
    nodes: dict[str, set[str]] = defaultdict(set)
    total: dict[str, float] = defaultdict(float)
    for node in model.graph.node:
        if found := _BLOCK.match(node.name):
            nodes[found[0]].add(node.name)
            total[found[0]] += noise.get(node.output[0], 0.0)
    order = sorted(nodes, key=lambda name: -total[name])
    return [Site(name, frozenset(nodes[name])) for name in order]


def excite_branches(model: onnx.ModelProto) -> Site:
    """All nodes from a squeeze (global pooling) to the product that excites the channels with its result.

    Empty for networks without squeeze-excite blocks.
    """
    index, types = GraphIndex(model.graph), value_types(model)
    nodes: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "GlobalAveragePool":
            branch = list(_single_pixels(node, index, types))
            ends = [reader for inner in branch for reader in index.consumers[inner.output[0]]]
            if any(end.op_type == "Mul" and not _is_single_pixel(end, types) for end in ends):
                nodes.update(inner.name for inner in branch)
    return Site("squeeze-excite", frozenset(nodes))


def _makers(value: str, index: GraphIndex) -> Iterator[onnx.NodeProto]:
    node = index.producers.get(value)
    while node is not None:
        yield node
        node = index.producers.get(node.input[0]) if node.op_type in _PASSING else None


def _readers(value: str, index: GraphIndex) -> Iterator[onnx.NodeProto]:
    for node in index.consumers.get(value, []):
        yield node
        if node.op_type in _PASSING:
            yield from _readers(node.output[0], index)


def _single_pixels(
    node: onnx.NodeProto, index: GraphIndex, types: dict[str, ValueType]
) -> Iterator[onnx.NodeProto]:
    """The node and all that follows it on images of one pixel; some more than once."""
    yield node
    for reader in index.consumers.get(node.output[0], []):
        if _is_single_pixel(reader, types):
            yield from _single_pixels(reader, index, types)


def _is_single_pixel(node: onnx.NodeProto, types: dict[str, ValueType]) -> bool:
    made = types.get(node.output[0])
    return made is not None and made.shape is not None and tuple(made.shape[2:]) == (1, 1)

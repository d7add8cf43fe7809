"""Which channels of a graph's values may be scaled together without changing what it computes.

Scaling a channel where a convolution writes it, and scaling it back where one reads it, changes nothing as
long as all that lies between passes a positive factor through: ReLU, pooling, addition of values scaled
alike, concatenation. This finds the sets of channels that are so tied, channel by channel, so that residual
streams, into which many blocks write, and concatenated branches are covered as well as plain pairs of
convolutions (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019,
treat the pairs).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.index import GraphIndex, attribute

__all__ = ["TiedChannels", "tie_channels"]

#: f(s * x) = s * f(x) for every s > 0, channel by channel.
_EQUIVARIANT = frozenset(
    {"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity", "Dropout"}
)


@dataclass(slots=True, eq=False)
class TiedChannels:
    """Sets of channels that share one factor.

    Attributes:
        channels: value name -> (C,) int64, the set that each of its channels is in. Only values of which
            the first dimension after the batch is a channel, and that a convolution or a product makes.
        free: set -> whether it may be scaled; one that reaches an operator which no factor passes is not.
    """

    channels: dict[str, NDArray[np.int64]]
    free: dict[int, bool]


@dataclass(slots=True)
class _Forest:
    """Union-find over channels."""

    parent: list[int] = field(default_factory=list)
    fixed: set[int] = field(default_factory=set)

    def add(self, count: int) -> NDArray[np.int64]:
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def root(self, item: int) -> int:
        while self.parent[item] != item:
            self.parent[item] = self.parent[self.parent[item]]
            item = self.parent[item]
        return item

    def unite(self, some: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        for one, other in zip(some.tolist(), others.tolist(), strict=True):
            a, b = self.root(one), self.root(other)
            self.parent[max(a, b)] = min(a, b)


def tie_channels(model: onnx.ModelProto) -> TiedChannels:
    """The sets of ``model``, whose nodes are in topological order."""
    index, forest = GraphIndex(model.graph), _Forest()
    channels: dict[str, NDArray[np.int64]] = {}
    for node in model.graph.node:
        made = _channels_of(node, index, channels, forest)
        if made is not None:
            channels[node.output[0]] = made
    for name in index.outputs & channels.keys():
        forest.fixed.update(channels[name].tolist())
    fixed = {forest.root(item) for item in forest.fixed}
    roots = {name: np.array([forest.root(item) for item in ids.tolist()]) for name, ids in channels.items()}
    sets = {item for ids in roots.values() for item in ids.tolist()}
    return TiedChannels(channels=roots, free={item: item not in fixed for item in sets})


def _channels_of(
    node: onnx.NodeProto, index: GraphIndex, channels: dict[str, NDArray[np.int64]], forest: _Forest
) -> NDArray[np.int64] | None:
    """The channels of what ``node`` makes; what it reads and cannot pass on becomes fixed."""
    known = [channels[name] for name in node.input if name in channels]
    if _is_weighted(node, index):
        return forest.add(_output_channels(node, index))
    if known and node.op_type in _EQUIVARIANT:
        return known[0]
    if known and _flattens_pooled(node, index):
        return known[0]
    if node.op_type == "Add" and len(known) == 2 and len(known[0]) == len(known[1]):
        forest.unite(*known)
        return known[0]
    if node.op_type == "Concat" and len(known) == len(node.input) and attribute(node, "axis", 0) == 1:
        return np.concatenate(known)
    for ids in known:
        forest.fixed.update(ids.tolist())
    return None


def _is_weighted(node: onnx.NodeProto, index: GraphIndex) -> bool:
    """A convolution, or a product of which the second factor is stored as (outputs, inputs)."""
    if len(node.input) < 2 or not all(index.is_constant(name) for name in node.input[1:] if name):
        return False
    if node.op_type == "Gemm":
        plain = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0
        straight = attribute(node, "transB", 0) == 1 and attribute(node, "transA", 0) == 0
        return bool(plain and straight)
    return node.op_type == "Conv"


def _output_channels(node: onnx.NodeProto, index: GraphIndex) -> int:
    return int(index.constant(node.input[1]).shape[0])


def _flattens_pooled(node: onnx.NodeProto, index: GraphIndex) -> bool:
    """Whether it only drops the two dimensions of size 1 that global pooling leaves."""
    maker = index.producers.get(node.input[0])
    if maker is None or maker.op_type != "GlobalAveragePool":
        return False
    if node.op_type == "Reshape" and index.is_constant(node.input[1]):
        return len(index.constant(node.input[1])) == 2
    return node.op_type == "Flatten" and attribute(node, "axis", 1) == 1

"""Batch normalisation as part of the layer before it, which then computes both at the price of one.

At inference, ``(y - mean) / sqrt(variance + epsilon) * scale + shift`` is a factor and a summand for each
channel (Ioffe and Szegedy, Batch Normalization, ICML 2015), which that layer's weights and bias take in.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.index import GraphIndex, attribute

__all__ = ["fold_batch_norm"]

_Factors = tuple[NDArray[np.float64], NDArray[np.float64]]


def fold_batch_norm(model: onnx.ModelProto) -> int:
    """Fold each BatchNormalization into the Conv or Gemm whose result it alone reads.

    Engines do so for float models when they load them. Between the Q/DQ pairs of an int8 model they do not:
    there, each BatchNormalization would leave int8.

    Args:
        model: of opset 9 or later, its constants stored as initialisers (``store_constants``); changed in
            place. It computes what it did before, but for the rounding of its weights.

    Returns:
        How many were folded. Those that train, or whose parameters are computed, stay.
    """
    index = GraphIndex(model.graph)
    folded: set[str] = set()
    for node in model.graph.node:
        factors = _factors(node, index)
        before = index.producers.get(node.input[0]) if factors is not None else None
        if factors is None or before is None or index.sole_consumer(before.output[0]) is not node:
            continue
        if _take_in(before, factors, index):
            folded.add(before.output[0])
            before.output[0] = node.output[0]
            index.producers[node.output[0]] = before
    _drop(model.graph, folded)
    return len(folded)


def _factors(node: onnx.NodeProto, index: GraphIndex) -> _Factors | None:
    """What each channel is multiplied by, and what is added to it then, (C,); None where that is unknown."""
    if node.op_type != "BatchNormalization" or attribute(node, "training_mode", 0):
        return None
    if any(node.output[1:]) or not all(map(index.is_constant, node.input[1:])):  # statistics: it trains
        return None
    scale, shift, mean, variance = (index.constant(name).astype(np.float64) for name in node.input[1:])
    spread = variance + attribute(node, "epsilon", 1e-5)
    if not (spread > 0).all():
        return None
    factor = scale / np.sqrt(spread)
    return factor, shift - mean * factor


def _take_in(node: onnx.NodeProto, factors: _Factors, index: GraphIndex) -> bool:
    """Change the weights and the bias of ``node``; False, and no change, where they cannot be."""
    if node.op_type not in {"Conv", "Gemm"} or not all(
        index.is_constant(name) for name in node.input[1:] if name
    ):
        return False
    factor, summand = factors
    weights = index.constant(node.input[1])
    axis = 1 if node.op_type == "Gemm" and not attribute(node, "transB", 0) else 0
    bias = _bias(node, index)
    if weights.shape[axis] != len(factor) or bias.shape not in {(), (1,), (len(factor),)}:
        return False
    along = [1] * weights.ndim
    along[axis] = -1
    index.replace_input(node, 1, (weights * factor.reshape(along)).astype(weights.dtype))
    _put_bias(node, (bias * factor + summand).astype(weights.dtype), index)
    return True


def _bias(node: onnx.NodeProto, index: GraphIndex) -> NDArray[np.float64]:
    """What ``node`` adds to its sums, without leading dimensions of size 1; 0 where it adds nothing."""
    if len(node.input) < 3 or not node.input[2]:
        return np.zeros(())
    bias: NDArray[np.float64] = index.constant(node.input[2]) * np.float64(attribute(node, "beta", 1.0))
    return bias.reshape(bias.shape[1:]) if bias.ndim == 2 and len(bias) == 1 else bias


def _put_bias(node: onnx.NodeProto, bias: NDArray[np.floating], index: GraphIndex) -> None:
    if len(node.input) > 2 and node.input[2]:
        index.replace_input(node, 2, bias)
    else:
        del node.input[2:]
        node.input.append(index.add_constant(f"{node.output[0]}.bias", bias))
    for entry in [entry for entry in node.attribute if entry.name == "beta"]:  # the bias holds it now
        node.attribute.remove(entry)


def _drop(graph: onnx.GraphProto, folded: Collection[str]) -> None:
    """Remove the nodes that normalised the values ``folded``, and what is said of these."""
    for node in [
        node for node in graph.node if node.op_type == "BatchNormalization" and node.input[0] in folded
    ]:
        graph.node.remove(node)
    for value in [value for value in graph.value_info if value.name in folded]:
        graph.value_info.remove(value)

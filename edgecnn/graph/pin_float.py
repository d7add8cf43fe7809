"""Keeps convolutions that a quantised model holds in float from being quantised by the runtime.

ONNX Runtime gives the weights of a float convolution between a DequantizeLinear and a QuantizeLinear an 8-bit
form of its own (its WeightBiasQuantization pass; seen in 1.31), also across a Relu or Clip behind it. A layer
that was kept in float for its accuracy would lose just that. The pass does not know LeakyRelu, which fuses
into the float convolution's kernel as Relu does, and which is Relu for a slope of 0 and nothing for a slope
of 1.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from edgecnn.graph.index import GraphIndex

__all__ = ["pin_float_convolutions"]

_ACTIVATIONS = frozenset({"Relu", "Clip"})


def pin_float_convolutions(model: onnx.ModelProto) -> int:
    """Separate each float Conv and Gemm from the QuantizeLinear of its result; all results stay the same.

    Args:
        model: with Q/DQ pairs; changed in place.

    Returns:
        How many were pinned.
    """
    index = GraphIndex(model.graph)
    pins: dict[str, onnx.NodeProto] = {}
    for node in model.graph.node:
        if node.op_type not in {"Conv", "Gemm"} or not index.is_constant(node.input[1]):
            continue
        last = _with_activation(node, index)
        quantise = index.sole_consumer(last.output[0])
        if quantise is None or quantise.op_type != "QuantizeLinear":
            continue
        if last.op_type == "Relu" or _saturates_alike(last, quantise, index):
            relu = helper.make_node("LeakyRelu", last.input[:1], last.output, name=last.name, alpha=0.0)
            last.CopyFrom(relu)
            pins[node.output[0]] = node
        else:
            value, pinned = last.output[0], f"{last.output[0]}/pinned"
            pins[value] = helper.make_node("LeakyRelu", [value], [pinned], name=pinned, alpha=1.0)
            quantise.input[0] = pinned
    _insert(model, pins)
    return len(pins)


def _with_activation(node: onnx.NodeProto, index: GraphIndex) -> onnx.NodeProto:
    following = index.sole_consumer(node.output[0])
    return following if following is not None and following.op_type in _ACTIVATIONS else node


def _saturates_alike(node: onnx.NodeProto, quantise: onnx.NodeProto, index: GraphIndex) -> bool:
    """Whether ``node`` clips at 0 below, and above not before the quantised values end anyway."""
    if node.op_type != "Clip" or len(node.input) < 3 or not all(map(index.is_constant, node.input[1:])):
        return False
    if index.constant(node.input[1]) != 0:
        return False
    zero = index.constant(quantise.input[2])
    highest = (np.iinfo(zero.dtype).max - int(zero)) * float(index.constant(quantise.input[1]))
    return highest <= float(index.constant(node.input[2])) * (1 + 1e-6)


def _insert(model: onnx.ModelProto, pins: dict[str, onnx.NodeProto]) -> None:
    """Put each new node behind the one that makes the value under which it is."""
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes.append(node)
        pin = pins.get(node.output[0])
        if pin is not None and pin is not node:
            nodes.append(pin)
    del model.graph.node[:]
    model.graph.node.extend(nodes)

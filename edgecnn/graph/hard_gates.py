"""Hard-swish and hard-sigmoid in the pieces for which engines have int8 kernels.

``hard_sigmoid(x) = clip(x + 3, 0, 6) / 6`` and ``hard_swish(x) = x * hard_sigmoid(x)`` (Howard et al.,
Searching for MobileNetV3, ICCV 2019). Quantised, the clip costs nothing, since 8 bits that span 0 to 6
saturate there, and the division costs nothing, since it is a change of scale: see :func:`fold_scales`. What
remains is one addition and one product, both of 8-bit numbers.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper

from edgecnn.graph.index import GraphIndex, attribute

__all__ = ["GATE_RANGES", "fold_scales", "open_hard_gates"]

#: What follows the name of a gate's value -> its range.
GATE_RANGES = {"/shifted": (0.0, 6.0), "/gate": (0.0, 1.0)}


def open_hard_gates(model: onnx.ModelProto, keep: Collection[str] = ()) -> tuple[str, ...]:
    """Replace HardSwish, and HardSigmoid of slope 1/6, by addition, clip and products.

    Args:
        model: changed in place; it computes what it did before.
        keep: names of nodes that stay as they are, in float, for which engines have one fused kernel.

    Returns:
        The names of the values that hold ``clip(x + 3, 0, 6)``, which need the range 0 to 6.
    """
    index = GraphIndex(model.graph)
    nodes: list[onnx.NodeProto] = []
    shifted = []
    for node in model.graph.node:
        if node.name in keep or not _is_hard_gate(node):
            nodes.append(node)
            continue
        pieces = _pieces(node, index)
        shifted.append(pieces[1].output[0])
        nodes += pieces
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return tuple(shifted)


def _is_hard_gate(node: onnx.NodeProto) -> bool:
    if node.op_type == "HardSwish":
        return True
    return (
        node.op_type == "HardSigmoid"
        and abs(attribute(node, "alpha", 0.2) - 1 / 6) < 1e-6
        and attribute(node, "beta", 0.5) == 0.5
    )


def _pieces(node: onnx.NodeProto, index: GraphIndex) -> list[onnx.NodeProto]:
    value, result, name = node.input[0], node.output[0], node.name
    three = _scalar(index, "hard_gate.three", 3.0)
    low, high = _scalar(index, "hard_gate.zero", 0.0), _scalar(index, "hard_gate.six", 6.0)
    sixth = _scalar(index, "hard_gate.sixth", 1 / 6)
    swish = node.op_type == "HardSwish"
    gate = f"{result}/gate" if swish else result
    pieces = [
        helper.make_node("Add", [value, three], [f"{result}/sum"], name=f"{name}/Add"),
        helper.make_node("Clip", [f"{result}/sum", low, high], [f"{result}/shifted"], name=f"{name}/Clip"),
        helper.make_node("Mul", [f"{result}/shifted", sixth], [gate], name=f"{name}/Scale"),
    ]
    if swish:
        pieces.append(helper.make_node("Mul", [value, gate], [result], name=f"{name}/Mul"))
    return pieces


def _scalar(index: GraphIndex, name: str, value: float) -> str:
    return name if index.is_constant(name) else index.add_constant(name, np.float32(value))


def fold_scales(model: onnx.ModelProto) -> int:
    """Turn "dequantise, multiply by a constant, quantise, dequantise" into a dequantisation of another scale.

    The 8-bit numbers stay what they are and only mean something else. ONNX Runtime takes the scale of each
    input of an int8 kernel from the DequantizeLinear before it, and so needs no kernel for the product.

    Args:
        model: changed in place. Its results change by less than the rounding that is left out.

    Returns:
        How many products were folded.
    """
    index = GraphIndex(model.graph)
    dead: set[str] = set()  # by their results: not every node has a name
    folded = 0
    for node in model.graph.node:
        factor = _constant_factor(node, index)
        if factor is None:
            continue
        first = index.producers.get(node.input[0])
        second = index.sole_consumer(node.output[0])
        if not _reads(first, "DequantizeLinear") or not _reads(second, "QuantizeLinear"):
            continue
        assert first is not None
        assert second is not None
        for last in index.consumers[second.output[0]]:
            scale = index.constant(first.input[1]) * np.float32(factor)
            last.input[0] = first.input[0]
            last.input[1] = index.add_constant(f"{node.output[0]}.scale", scale.astype(np.float32))
            if len(first.input) > 2:
                last.input[2:] = [first.input[2]]
        dead.update((node.output[0], second.output[0]))
        if index.sole_consumer(first.output[0]) is node:
            dead.add(first.output[0])
        folded += 1
    kept = [node for node in model.graph.node if node.output[0] not in dead]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return folded


def _constant_factor(node: onnx.NodeProto, index: GraphIndex) -> float | None:
    if node.op_type != "Mul" or not index.is_constant(node.input[1]):
        return None
    factor = index.constant(node.input[1])
    return float(factor.item()) if factor.size == 1 and factor.item() > 0 else None


def _reads(node: onnx.NodeProto | None, op_type: str) -> bool:
    return node is not None and node.op_type == op_type

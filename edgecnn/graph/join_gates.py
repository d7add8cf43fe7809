"""Hard-sigmoid as one node where a graph spells it out: ``clip(x + 3, 0, 6) / 6``.

So PyTorch's exporter wrote it up to opset 13, and so networks have it that compute
``x * relu6(x + 3) / 6`` themselves, as the first implementations of MobileNetV3 do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from edgecnn.graph.index import GraphIndex

__all__ = ["join_hard_gates"]


@dataclass(frozen=True, slots=True)
class _Spelled:
    """The nodes of one gate.

    Attributes:
        value: name of what goes in.
        add: adds 3 to it.
        clip: limits the sum to 0 and 6.
        product: multiplies that with another value; None where it is divided first.
        scale: divides by 6.
    """

    value: str
    add: onnx.NodeProto
    clip: onnx.NodeProto
    product: onnx.NodeProto | None
    scale: onnx.NodeProto


def join_hard_gates(model: onnx.ModelProto) -> int:
    """Replace Add, Clip and Div, or Mul by 1/6, by the HardSigmoid that they are.

    A product with another value between Clip and Div comes behind the HardSigmoid then, which is one factor
    of hard-swish. The division has no int8 kernel; how HardSigmoid gets one, see
    :func:`edgecnn.graph.hard_gates.open_hard_gates`.

    Args:
        model: of opset 11 or later, its constants stored as initialisers (``store_constants``); changed in
            place. It computes what it did before, but for rounding.

    Returns:
        How many were replaced.
    """
    index = GraphIndex(model.graph)
    spelled = (_spelled(node, index) for node in model.graph.node)
    gates = {gate.scale.output[0]: gate for gate in spelled if gate is not None}  # one division, one gate
    for gate in gates.values():
        _join(model.graph, gate)
    return len(gates)


def _spelled(clip: onnx.NodeProto, index: GraphIndex) -> _Spelled | None:
    """The gate around ``clip``."""
    limits = list(clip.input[1:])
    if clip.op_type != "Clip" or len(limits) != 2 or not _are(limits, (0.0, 6.0), index):
        return None
    add = index.producers.get(clip.input[0])
    if add is None or add.op_type != "Add" or index.sole_consumer(add.output[0]) is not clip:
        return None
    value = _other_than(3.0, add, index)
    product, scale = None, index.sole_consumer(clip.output[0])
    if scale is not None and _multiplies(scale, clip.output[0], index):
        product, scale = scale, index.sole_consumer(scale.output[0])
    if value is None or scale is None or not _divides_by_six(scale, index):
        return None
    return _Spelled(value, add, clip, product, scale)


def _multiplies(node: onnx.NodeProto, value: str, index: GraphIndex) -> bool:
    """Whether ``node`` multiplies ``value`` with another one, which is not 1/6."""
    return (
        node.op_type == "Mul"
        and list(node.input).count(value) == 1
        and _other_than(1 / 6, node, index) is None
    )


def _divides_by_six(node: onnx.NodeProto, index: GraphIndex) -> bool:
    if node.op_type == "Div":
        return _are(node.input[1:], (6.0,), index)
    return node.op_type == "Mul" and _other_than(1 / 6, node, index) is not None


def _other_than(number: float, node: onnx.NodeProto, index: GraphIndex) -> str | None:
    """The one input of ``node`` that is computed, where the other is the constant ``number``."""
    first, second = node.input
    for constant, value in ((first, second), (second, first)):
        if _are([constant], (number,), index) and not index.is_constant(value):
            return value
    return None


def _are(names: Sequence[str], numbers: Sequence[float], index: GraphIndex) -> bool:
    """Whether the values ``names`` are scalars that are stored: ``numbers``, to float32's precision."""
    if not all(map(index.is_constant, names)):
        return False
    constants = [index.constant(name) for name in names]
    if any(constant.size != 1 or constant.ndim > 1 for constant in constants):
        return False
    found = [float(constant.item()) for constant in constants]
    return all(abs(one - other) <= 1e-6 for one, other in zip(found, numbers, strict=True))


def _join(graph: onnx.GraphProto, gate: _Spelled) -> None:
    """Put the HardSigmoid where the Clip was; what is left of the chain goes."""
    product, scale = gate.product, gate.scale
    sigmoid = helper.make_node(
        "HardSigmoid",
        [gate.value],
        gate.clip.output if product is not None else scale.output,
        name=gate.clip.name if product is not None else scale.name,
        alpha=1 / 6,
        beta=0.5,
    )
    stale = {gate.add.output[0], gate.clip.output[0]}
    if product is not None:
        stale.add(product.output[0])
        product.output[:] = scale.output
    gate.clip.CopyFrom(sigmoid)
    graph.node.remove(gate.add)
    graph.node.remove(scale)
    for value in [value for value in graph.value_info if value.name in stale]:
        graph.value_info.remove(value)

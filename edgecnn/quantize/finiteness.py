"""Which activations may be NaN or infinite: those that only nodes in float touch."""

from __future__ import annotations

from collections.abc import Collection

import onnx

from edgecnn.errors import QuantizationError
from edgecnn.graph.index import GraphIndex

__all__ = ["require_finite"]

#: Naming more nodes than this is no advice.
_FEW = 8


def require_finite(
    model: onnx.ModelProto, not_finite: Collection[str], keep_float: Collection[str] = ()
) -> None:
    """Refuse what is to be held in 8 bits and is NaN or infinite: it has no range.

    Args:
        model: whose activations were observed.
        not_finite: names of those that were NaN or infinite, in the order of the graph.
        keep_float: names of the nodes that stay in float; what only they make and read needs no range.

    Raises:
        QuantizationError: another node makes or reads one; or one is the model's input or output.
    """
    index = GraphIndex(model.graph)
    ends = {model.graph.input[0].name, *index.outputs}
    for name in not_finite:
        if name in ends or any(node.name not in keep_float for node in _touching(name, index)):
            raise _refusal(name, not_finite, index)


def _touching(name: str, index: GraphIndex) -> list[onnx.NodeProto]:
    maker = index.producers.get(name)
    return [*([maker] if maker is not None else []), *index.consumers[name]]


def _refusal(name: str, not_finite: Collection[str], index: GraphIndex) -> QuantizationError:
    node = index.producers.get(name)
    maker = f"the node {node.name!r} ({node.op_type})" if node is not None else "the model's input"
    advice = "Check the weights and the preprocessing: 'edgecnn validate' the float model first."
    nodes = dict.fromkeys(node.name for each in not_finite for node in _touching(each, index))
    if index.outputs.isdisjoint(not_finite) and all(nodes) and len(nodes) <= _FEW and node is not None:
        options = " ".join(f"--keep-float {each}" for each in nodes)
        advice += f" The scores are finite: to leave all that touches such values in float, {options}."
    return QuantizationError(f"Calibration met NaN or infinity in {name!r}, from {maker}.", advice)

"""What a graph says of itself: the precision of its arithmetic, and what its output holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import onnx

from edgecnn.errors import UnknownNameError
from edgecnn.graph.index import GraphIndex
from edgecnn.spec import Precision

__all__ = ["arithmetic_precision", "ends_in_softmax", "half_constants", "require_nodes"]

#: Where nearly all arithmetic of a classifier happens; the second input holds the weights.
_WEIGHTED = frozenset({"Conv", "Gemm", "MatMul", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul"})
_QUANTISED = frozenset(
    {"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul"}
)
_OF_WEIGHTS: dict[int, Precision] = {onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.BFLOAT16: "bf16"}
_HALF: dict[int, str] = {onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.BFLOAT16: "bfloat16"}

#: What leaves every score in its place and order.
_TRANSPARENT = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def arithmetic_precision(model: onnx.ModelProto) -> Precision:
    """What most convolutions and matrix products of ``model`` run in; "fp32" when it has none."""
    dtypes = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    kinds: Counter[Precision] = Counter()
    for node in model.graph.node:
        if node.op_type in _QUANTISED or (
            node.op_type in _WEIGHTED and makers.get(node.input[1]) == "DequantizeLinear"
        ):
            kinds["int8"] += 1
        elif node.op_type in _WEIGHTED:
            kinds[_OF_WEIGHTS.get(dtypes.get(node.input[1], onnx.TensorProto.FLOAT), "fp32")] += 1
    return kinds.most_common(1)[0][0] if kinds else "fp32"


def ends_in_softmax(model: onnx.ModelProto) -> bool:
    """Whether the first output is that of a softmax, but for nodes that only change type or shape."""
    makers = {output: node for node in model.graph.node for output in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _TRANSPARENT:
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


def half_constants(model: onnx.ModelProto) -> dict[str, str]:
    """Name -> "float16" or "bfloat16" of each constant in one of these, in the order of the graph."""
    constants = GraphIndex(model.graph).constants
    return {name: _HALF[tensor.data_type] for name, tensor in constants.items() if tensor.data_type in _HALF}


def require_nodes(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Refuse names that no node of ``model`` has.

    Raises:
        UnknownNameError: with the nearest names.
    """
    known = {node.name for node in model.graph.node}
    for name in names:
        if name not in known:
            raise UnknownNameError("node", name, known, listing="'edgecnn inspect --layers' lists them.")

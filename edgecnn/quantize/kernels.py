"""What an int8 file really runs in, read off the graph that ONNX Runtime made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from edgecnn.graph.layers import graph_layers
from edgecnn.quantize.sessions import Session

__all__ = ["int8_mac_share", "macs_by_node"]

#: ONNX Runtime's operators that multiply 8-bit integers.
_INTEGER = frozenset(
    {
        *("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"),
        *("DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
    }
)

#: What ONNX Runtime appends to the names of nodes that it makes of others.
_SUFFIX = re.compile(r"(_token_\d+|_nchwc|_quant)+$")


def macs_by_node(model: onnx.ModelProto) -> dict[str, int]:
    """Multiply-accumulates for one image of each convolution and product of the float ``model``."""
    return {layer.node: layer.macs for layer in graph_layers(model) if layer.macs}


def int8_mac_share(model: onnx.ModelProto, macs: Mapping[str, int]) -> float:
    """Percent of the multiply-accumulates that ONNX Runtime's CPU provider runs on 8-bit integers.

    Args:
        model: quantised, with the node names of the float model.
        macs: of the float model's nodes.

    Raises:
        QuantizationError: ONNX Runtime refuses the model.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        Session(model, threads=1, optimised=path)
        optimised = onnx.load(path)
    integer = {_SUFFIX.sub("", node.name) for node in optimised.graph.node if node.op_type in _INTEGER}
    total = sum(macs.values())
    return 100 * sum(count for name, count in macs.items() if name in integer) / total if total else 0.0

"""What an int8 file really runs in, read off the graph that ONNX Runtime made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from edgecnn.artifact import graph_input
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


def macs_by_node(model: onnx.ModelProto, image: Sequence[int] | None = None) -> dict[str, int] | None:
    """Multiply-accumulates for one image of each convolution and product of the float ``model``.

    Args:
        model: it is not changed.
        image: shape of one, for a model that takes any size; None to count as it says.

    Returns:
        By the names of nodes; None where those of one are not known.
    """
    sized = model if image is None else _sized(model, image)
    macs = {layer.node: layer.macs for layer in graph_layers(sized) if layer.multiplies}
    known = {node: count for node, count in macs.items() if count is not None}
    return known if len(known) == len(macs) else None


def int8_mac_share(model: onnx.ModelProto, macs: Mapping[str, int] | None) -> float | None:
    """Percent of the multiply-accumulates that ONNX Runtime's CPU provider runs on 8-bit integers.

    Args:
        model: quantised, with the node names of the float model.
        macs: of the float model's nodes; None where they are not known.

    Returns:
        None where they are not known, or nothing multiplies.

    Raises:
        QuantizationError: ONNX Runtime refuses the model.
    """
    if not macs:
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        Session(model, threads=1, optimised=path)
        optimised = onnx.load(path)
    integer = {_SUFFIX.sub("", node.name) for node in optimised.graph.node if node.op_type in _INTEGER}
    return 100 * sum(count for name, count in macs.items() if name in integer) / sum(macs.values())


def _sized(model: onnx.ModelProto, image: Sequence[int]) -> onnx.ModelProto:
    """``model``, or a copy for images of that shape where it takes others, too."""
    name = graph_input(model).name
    at = next(index for index, value in enumerate(model.graph.input) if value.name == name)
    if all(size.dim_value > 0 for size in model.graph.input[at].type.tensor_type.shape.dim[1:]):
        return model
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    dimensions = sized.graph.input[at].type.tensor_type.shape.dim[1:]
    for dimension, size in zip(dimensions, image, strict=True):
        if dimension.dim_value < 1:
            dimension.dim_value = size
    return sized

"""What the values of a graph are made of: constants wherever they are written, and how they are stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["ValueIndex", "attribute_of", "bits_of", "stored_bytes"]

_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}


class ValueIndex:
    """Look-ups in the main graph of a model by the names of values; for reading only.

    Attributes:
        makers: value -> the node that puts it out.
        users: value -> the nodes that take it in, in the order of the graph.
        constants: value -> its tensor: initialisers, and the outputs of ``Constant`` nodes.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.makers: dict[str, onnx.NodeProto] = {}
        self.users: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            for name in node.input:
                self.users[name].append(node)
            for name in node.output:
                self.makers[name] = node
            if node.op_type == "Constant":
                self.constants.update(_constant(node))

    def array(self, name: str) -> NDArray[Any] | None:
        """The numbers of a constant; None when ``name`` is none."""
        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)


def attribute_of(node: onnx.NodeProto, name: str, default: Any) -> Any:  # noqa: ANN401 - as ONNX types it
    """The value of an attribute of ``node``, or ``default`` when it is not given."""
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def bits_of(dtype: int) -> int:
    """How many bits a number of ONNX's element type ``dtype`` takes in a file."""
    name = TensorProto.DataType.Name(dtype)
    return _BITS.get(name) or 8 * helper.tensor_dtype_to_np_dtype(dtype).itemsize


def stored_bytes(dtype: int, elements: int) -> int:
    """How many bytes ``elements`` numbers take; those of less than 8 bits are packed."""
    return (elements * bits_of(dtype) + 7) // 8


def _constant(node: onnx.NodeProto) -> Iterator[tuple[str, TensorProto]]:
    for attribute in node.attribute:
        if attribute.name == "value":
            yield node.output[0], attribute.t
        elif attribute.name in ("value_int", "value_ints"):
            yield node.output[0], _tensor(attribute, TensorProto.INT64)
        elif attribute.name in ("value_float", "value_floats"):
            yield node.output[0], _tensor(attribute, TensorProto.FLOAT)


def _tensor(attribute: onnx.AttributeProto, dtype: int) -> TensorProto:
    """A number, or several, as a tensor."""
    value = helper.get_attribute_value(attribute)
    several = attribute.name.endswith("s")
    numbers = list(value) if several else [value]
    return helper.make_tensor(attribute.name, dtype, [len(numbers)] if several else [], numbers)

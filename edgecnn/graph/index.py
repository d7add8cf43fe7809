"""Who makes and who reads each value of a graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["GraphIndex", "attribute", "opset_version"]


class GraphIndex:
    """A graph's nodes by the values that they make and read, as they were when it was made.

    Attributes:
        graph: the graph itself.
        producers: value name -> the node that makes it.
        consumers: value name -> the nodes that read it, each once, in the order of the graph.
        outputs: names of the graph's outputs.
        constants: value name -> its tensor: initialisers, and what ``Constant`` nodes make.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.producers = {name: node for node in graph.node for name in node.output if name}
        self.consumers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self.consumers[name].append(node)
        self.outputs = {value.name for value in graph.output}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        made = (item for node in graph.node if node.op_type == "Constant" for item in _constant(node))
        self.constants: dict[str, TensorProto] = {**self._initializers, **dict(made)}

    def array(self, name: str) -> NDArray[Any] | None:
        """The numbers of a constant; None when ``name`` is none."""
        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def is_constant(self, name: str) -> bool:
        """Whether ``name`` is an initialiser."""
        return name in self._initializers

    def constant(self, name: str) -> NDArray[Any]:
        """The initialiser ``name``, as a new array.

        Raises:
            KeyError: it is none.
        """
        return numpy_helper.to_array(self._initializers[name])

    def replace_constant(self, name: str, values: NDArray[Any]) -> None:
        """Give the initialiser ``name`` other values."""
        self._initializers[name].CopyFrom(numpy_helper.from_array(values, name))

    def replace_input(self, node: onnx.NodeProto, at: int, values: NDArray[Any]) -> None:
        """Give ``node`` other values for its constant input ``at``; other nodes that read it keep theirs."""
        name = node.input[at]
        if len(self.consumers[name]) > 1:
            self.consumers[name] = [other for other in self.consumers[name] if other is not node]
            node.input[at] = self.add_constant(name, values)
            self.consumers[node.input[at]].append(node)
        else:
            self.replace_constant(name, values)

    def add_constant(self, name: str, values: ArrayLike) -> str:
        """Add an initialiser under ``name``, or that with a number behind where it is taken; its name."""
        free, number = name, 1
        while free in self._initializers or free in self.producers:
            number += 1
            free = f"{name}_{number}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values), free))
        self._initializers[free] = self.graph.initializer[-1]
        return free

    def sole_consumer(self, name: str) -> onnx.NodeProto | None:
        """The one node that reads the value; None if there are several or none, or it is an output."""
        nodes = self.consumers.get(name, [])
        return nodes[0] if len(nodes) == 1 and name not in self.outputs else None


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:  # noqa: ANN401 - as ONNX has it
    """The attribute ``name`` of ``node``, or ``default`` where it is not written."""
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def opset_version(model: onnx.ModelProto) -> int:
    """Of the standard operators."""
    return next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})


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

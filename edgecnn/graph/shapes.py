"""Shapes and element types of a graph's values, inferred for one image or for several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.inliner import inline_local_functions
from onnx.reference import ReferenceEvaluator

__all__ = ["ValueType", "images_per_run", "inlined", "value_types"]

#: Tensors up to this many elements may be shapes, which the inference computes with; larger ones are weights,
#: of which it needs the dimensions only.
_LARGEST_SHAPE = 64

#: ONNX Runtime's own operators, for which the inference has no rule -> a standard one of which the output has
#: the same shape, and the inputs that this takes.
_STAND_INS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "DequantizeLinear": ("DequantizeLinear", (0, 1, 2)),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1)),
    "FastGelu": ("Identity", (0,)),
    "FusedConv": ("Conv", (0, 1, 2)),
    "FusedGemm": ("Gemm", (0, 1, 2)),
    "Gelu": ("Identity", (0,)),
    "MatMulIntegerToFloat": ("MatMul", (0, 1)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearLeakyRelu": ("Identity", (0,)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearSigmoid": ("Identity", (0,)),
    "QLinearSoftmax": ("Identity", (0,)),
    "QuickGelu": ("Identity", (0,)),
    "QuantizeLinear": ("QuantizeLinear", (0, 1, 2)),
}

#: What exporters compute shapes and paddings with.
_SHAPE_ARITHMETIC = frozenset(
    {
        *("Add", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Gather", "Identity", "Mul"),
        *("Reshape", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze"),
    }
)

#: What the stand-ins know; attributes beyond these belong to ONNX Runtime alone.
_KEPT = {
    "AveragePool": {"auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"},
    "Conv": {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"},
    "Gemm": {"transA", "transB"},
}


@dataclass(frozen=True, slots=True)
class ValueType:
    """What is known of a value.

    Attributes:
        dtype: ONNX's number of its element type, ``TensorProto.UNDEFINED`` when unknown.
        shape: None when its rank or a dimension is unknown.
    """

    dtype: int
    shape: tuple[int, ...] | None

    @property
    def elements(self) -> int | None:
        """How many numbers it holds; None when unknown."""
        return None if self.shape is None else prod(self.shape)


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model``, or a copy in which the calls of its own functions are replaced by their bodies."""
    return inline_local_functions(model) if model.functions else model


def images_per_run(model: onnx.ModelProto) -> int:
    """The batch that the model is fixed to; 1 when it takes any."""
    return next((max(_first_dimension(value), 1) for value in _real_inputs(model.graph)), 1)


def value_types(model: onnx.ModelProto, images: int = 1) -> dict[str, ValueType]:
    """Type and shape of every value of the main graph, by name, with a dynamic batch set to ``images``.

    Uses ONNX's shape inference on a copy without the weights, so that size does not matter; operators of
    ONNX Runtime are replaced there by standard ones of the same shape. Values inside the bodies of ``If``
    and ``Loop`` are not included.
    """
    skeleton = _skeleton(model, images)
    types = _inferred(skeleton)
    while not _complete(types, skeleton.graph) and _fold_shapes(skeleton, types):
        types = _inferred(skeleton)
    for tensor in (*skeleton.graph.initializer, *model.graph.initializer):
        types[tensor.name] = ValueType(tensor.data_type, tuple(tensor.dims))
    return types


def _inferred(skeleton: onnx.ModelProto) -> dict[str, ValueType]:
    graph = onnx.shape_inference.infer_shapes(skeleton, data_prop=True).graph
    return {value.name: _value_type(value) for value in _values(graph)}


def _complete(types: Mapping[str, ValueType], graph: onnx.GraphProto) -> bool:
    """Whether the shape of every value is known."""
    names = (name for node in graph.node for name in node.output if name)
    return all(name in types and types[name].shape is not None for name in names)


def _fold_shapes(skeleton: onnx.ModelProto, types: Mapping[str, ValueType]) -> bool:
    """Replace arithmetic on shapes by its results; ONNX's own propagation lacks rules for old opsets.

    Returns:
        Whether there was any.
    """
    graph = skeleton.graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kept, before = [], len(known)
    for node in graph.node:
        source = types.get(node.input[0]) if node.input else None
        if node.op_type == "Shape" and source is not None and source.shape is not None and not node.attribute:
            known[node.output[0]] = np.array(source.shape, np.int64)
        elif node.op_type in _SHAPE_ARITHMETIC and all(name in known for name in node.input):
            feeds = {name: known[name] for name in node.input}
            known[node.output[0]] = _evaluated(node, feeds, skeleton.opset_import)
        else:
            kept.append(node)
    if len(known) == before:
        return False
    tensors = [numpy_helper.from_array(value, name) for name, value in known.items()]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensors)
    return True


def _evaluated(
    node: onnx.NodeProto, feeds: Mapping[str, NDArray[Any]], opsets: Sequence[onnx.OperatorSetIdProto]
) -> NDArray[Any]:
    """The first output of one node."""
    inputs = [onnx.helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in feeds]
    outputs = [helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, None)]
    graph = helper.make_graph([node], node.op_type, inputs, outputs)
    (result,) = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets)).run(None, dict(feeds))
    return np.asarray(result)


def _skeleton(model: onnx.ModelProto, images: int) -> onnx.ModelProto:
    """The graph with inputs in place of its large tensors."""
    graph = onnx.GraphProto(name=model.graph.name)
    graph.input.extend(_for_images(model.graph, images))
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= _LARGEST_SHAPE:
            graph.initializer.append(tensor)
        elif not any(value.name == tensor.name for value in graph.input):
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for node in model.graph.node:
        graph.node.append(_stand_in(node, graph))
    graph.output.extend(_without_shape(value) for value in model.graph.output)
    return helper.make_model(
        graph, opset_imports=_default_domain_present(model), ir_version=max(model.ir_version, 4)
    )


def _default_domain_present(model: onnx.ModelProto) -> list[onnx.OperatorSetIdProto]:
    imports = list(model.opset_import)
    if all(opset.domain not in ("", "ai.onnx") for opset in imports):
        imports.append(helper.make_opsetid("", onnx.defs.onnx_opset_version()))
    return imports


def _real_inputs(graph: onnx.GraphProto) -> Iterator[ValueInfoProto]:
    """The inputs without the weights that old opsets list among them."""
    initialised = {tensor.name for tensor in graph.initializer}
    return (value for value in graph.input if value.name not in initialised)


def _for_images(graph: onnx.GraphProto, images: int) -> Iterator[ValueInfoProto]:
    """The inputs, with ``images`` in place of a first dimension that is not fixed."""
    initialised = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        copy = ValueInfoProto()
        copy.CopyFrom(value)
        dimensions = copy.type.tensor_type.shape.dim
        if value.name not in initialised and dimensions and dimensions[0].dim_value < 1:
            dimensions[0].dim_value = images
        yield copy


def _first_dimension(value: ValueInfoProto) -> int:
    dimensions = value.type.tensor_type.shape.dim
    return dimensions[0].dim_value if dimensions else 1


def _without_shape(value: ValueInfoProto) -> ValueInfoProto:
    """An output as the inference may fill it in: what the file says has a dynamic batch."""
    return helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, None)


def _stand_in(node: onnx.NodeProto, graph: onnx.GraphProto) -> onnx.NodeProto:
    """``node``, or a standard one of which the output has the same shape."""
    if node.domain in ("", "ai.onnx"):
        return node
    if node.op_type == "MatMulNBits":
        return _matmul_nbits(node, graph)
    if node.op_type == "QLinearConcat":
        return helper.make_node("Concat", node.input[2::3], node.output[:1], axis=_attribute(node, "axis", 1))
    if node.op_type == "FusedMatMul" and not _transposes(node):
        return helper.make_node("MatMul", node.input[:2], node.output[:1])
    if node.op_type not in _STAND_INS or _attribute(node, "channels_last", 0):
        return node
    op_type, inputs = _STAND_INS[node.op_type]
    names = [node.input[index] for index in inputs if index < len(node.input)]
    standard = helper.make_node(op_type, names, node.output[:1])
    kept = _KEPT.get(op_type, {"axis"})
    standard.attribute.extend(attribute for attribute in node.attribute if attribute.name in kept)
    return standard


def _transposes(node: onnx.NodeProto) -> bool:
    return any(attribute.i for attribute in node.attribute if attribute.name.startswith("trans"))


def _matmul_nbits(node: onnx.NodeProto, graph: onnx.GraphProto) -> onnx.NodeProto:
    """A product with a matrix that has the dimensions of the packed one."""
    name = f"{node.output[0]}:matrix"
    shape = (_attribute(node, "K", 0), _attribute(node, "N", 0))
    graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return helper.make_node("MatMul", [node.input[0], name], node.output[:1])


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)


def _values(graph: onnx.GraphProto) -> Iterator[ValueInfoProto]:
    yield from graph.input
    yield from graph.value_info
    yield from graph.output


def _value_type(value: ValueInfoProto) -> ValueType:
    tensor = value.type.tensor_type
    known = tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)
    return ValueType(tensor.elem_type, tuple(dim.dim_value for dim in tensor.shape.dim) if known else None)

"""float16 by onnxconverter-common's converter, with its known gaps closed around it.

Gaps of version 1.16 that are closed before or after it: a constant that a float32 node shares with a float16
one stays float32 for both; a Cast to float32 that the model has itself keeps saying so; nodes without names
get Casts of one name; an output that a float32 node makes becomes float16; neighbours that both stay in
float32 exchange their values in float16.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnxconverter_common.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from edgecnn.errors import QuantizationError
from edgecnn.graph.constants import drop_constant_inputs
from edgecnn.graph.index import GraphIndex, attribute
from edgecnn.graph.node_names import name_apart
from edgecnn.graph.reading import half_constants, require_nodes

__all__ = ["LARGEST_HALF", "to_half"]

#: IEEE 754 binary16: the largest finite number, and the smallest above 0.
LARGEST_HALF = 65504.0
_SMALLEST_HALF = 2.0**-24

#: What they limit by may be beyond all float16 numbers: it limits nothing, then, as does the largest.
_LIMITING = frozenset({"Clip", "Min", "Max"})


def to_half(model: onnx.ModelProto, keep_float: Collection[str] = ()) -> onnx.ModelProto:
    """A copy of ``model`` that stores its weights and computes in float16.

    Names and types of input and output, the dynamic batch, the opset, the model's metadata and the names of
    nodes stay; Casts are added. Nodes without a name get one, constants written as nodes are stored as
    initialisers. Weights are rounded to the nearest float16; those that would become 0 become 2**-24.

    Args:
        model: in float32, opset 11 or later, below 2 GiB.
        keep_float: names of nodes that stay in float32, with their weights.

    Raises:
        QuantizationError: a constant is beyond float16's 65504 (the message names it and the node that reads
            it), the model holds float16 already, or the result is no valid model.
        UnknownNameError: no node has a name in ``keep_float``.
    """
    _require_single(model)
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    name_apart(prepared.graph)  # the converter tells nodes by their names
    require_nodes(prepared, keep_float)
    _store_constants(prepared.graph)
    drop_constant_inputs(prepared)
    _forget_types_of_constants(prepared.graph)
    kept = {*keep_float, *_casts_to_float(prepared.graph)}
    _unshare(prepared.graph, kept)
    _require_in_range(prepared.graph, kept)
    half = _convert(prepared, kept)
    _restore_outputs(half.graph, model.graph)
    _join_float_neighbours(half.graph)
    _drop_stale_types(half.graph)
    _ensure_valid(half)
    return half


def _require_single(model: onnx.ModelProto) -> None:
    half = half_constants(model)
    if half:
        name, kind = next(iter(half.items()))
        raise QuantizationError(
            f"The model holds {kind} already: {name!r}.", "Give the float32 model that it was made from."
        )


def _store_constants(graph: onnx.GraphProto) -> None:
    """Turn ``Constant`` nodes into initialisers; an Identity of one stays, as do all names but these."""
    stored = GraphIndex(graph).constants
    nodes = [node for node in graph.node if node.op_type == "Constant" and node.output[0] in stored]
    for node in nodes:
        graph.initializer.add().CopyFrom(stored[node.output[0]])
        graph.initializer[-1].name = node.output[0]
        graph.node.remove(node)


def _forget_types_of_constants(graph: onnx.GraphProto) -> None:
    """They would be taken for those of computed values."""
    constant = {tensor.name for tensor in graph.initializer}
    for value in [value for value in graph.value_info if value.name in constant]:
        graph.value_info.remove(value)


def _casts_to_float(graph: onnx.GraphProto) -> Iterator[str]:
    """The model's own: the converter leaves what they cast to as it is, and so must know them as float32."""
    return (
        node.name
        for node in graph.node
        if node.op_type == "Cast" and attribute(node, "to", 0) == TensorProto.FLOAT
    )


def _stays(node: onnx.NodeProto, kept: Collection[str]) -> bool:
    return node.name in kept or node.op_type in DEFAULT_OP_BLOCK_LIST


def _unshare(graph: onnx.GraphProto, kept: Collection[str]) -> None:
    """Give nodes that stay in float32 constants of their own."""
    elsewhere = {name for node in graph.node if not _stays(node, kept) for name in node.input}
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    for node in [node for node in graph.node if _stays(node, kept)]:
        for at, name in enumerate(node.input):
            if name in elsewhere and name in stored:
                node.input[at] = f"{name}/{node.name}"
                graph.initializer.add().CopyFrom(stored[name])
                graph.initializer[-1].name = node.input[at]


def _require_in_range(graph: onnx.GraphProto, kept: Collection[str]) -> None:
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    for node in graph.node:
        if _stays(node, kept) or node.op_type in _LIMITING:
            continue
        for name in node.input:
            if name in stored:
                _require_fits(stored[name], node)


def _require_fits(tensor: onnx.TensorProto, node: onnx.NodeProto) -> None:
    values = numpy_helper.to_array(tensor)
    largest = float(
        np.abs(values[~np.isinf(values)]).max(initial=0.0)
    )  # infinity is one of float16's numbers
    if not largest <= LARGEST_HALF:
        raise QuantizationError(
            f"{tensor.name!r}, which {node.name!r} ({node.op_type}) reads, holds {largest:g}, and float16 "
            f"ends at {LARGEST_HALF:g}.",
            f"Keep the node in float32: --keep-float {node.name}",
        )


def _convert(model: onnx.ModelProto, kept: Collection[str]) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one for each limit that it brings into range
        half: onnx.ModelProto = convert_float_to_float16(
            model,
            min_positive_val=_SMALLEST_HALF,
            max_finite_val=LARGEST_HALF,
            keep_io_types=True,
            node_block_list=sorted(kept),
            check_fp16_ready=False,
        )
    return half


def _restore_outputs(graph: onnx.GraphProto, before: onnx.GraphProto) -> None:
    """Give outputs that kept nodes make their type back; others that read these go on reading float16."""
    makers = {name: node for node in graph.node for name in node.output}
    for output, original in zip(graph.output, before.output, strict=True):
        if output.type.tensor_type.elem_type == original.type.tensor_type.elem_type:
            continue
        output.type.CopyFrom(original.type)
        cast = makers[output.name]
        maker = makers[cast.input[0]]
        inside = cast.input[0]
        _redirect(graph, output.name, f"{output.name}/half")
        _redirect(graph, inside, output.name)
        cast.output[0] = f"{output.name}/half"
        maker.output[:] = [output.name if name == inside else name for name in maker.output]


def _join_float_neighbours(graph: onnx.GraphProto) -> None:
    """Let what stays in float32 pass values on in float32: drop Casts to float16 and back."""
    makers = {name: node for node in graph.node for name in node.output}
    for back in [node for node in graph.node if _casts(node, TensorProto.FLOAT)]:
        there = makers.get(back.input[0])
        if there is not None and _casts(there, TensorProto.FLOAT16):
            _redirect(graph, back.output[0], there.input[0])
    _drop_unread_casts(graph)


def _casts(node: onnx.NodeProto, dtype: int) -> bool:
    return node.op_type == "Cast" and attribute(node, "to", 0) == dtype


def _redirect(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Have those that read ``old`` read ``new``."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def _drop_unread_casts(graph: onnx.GraphProto) -> None:
    outputs = {value.name for value in graph.output}
    for _ in range(2):  # a Cast back, then the Cast that it alone read
        read = {name for node in graph.node for name in node.input} | outputs
        for node in [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in read]:
            graph.node.remove(node)


def _drop_stale_types(graph: onnx.GraphProto) -> None:
    made = {name for node in graph.node for name in node.output}
    known = [value for value in graph.value_info if value.name in made]
    del graph.value_info[:]
    graph.value_info.extend(known)


def _ensure_valid(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise QuantizationError(
            f"The conversion to float16 gave no valid model: {' '.join(str(error).split())}",
            "Keep the node that is named in float32 (--keep-float NODE), or export the model again.",
        ) from error

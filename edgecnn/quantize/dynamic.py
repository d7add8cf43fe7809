"""Dynamic int8 by ONNX Runtime's quantiser: ranges of activations are found anew in each run.

Of matrix products alone. ONNX Runtime has a kernel for a whole dynamically quantised product, but none for a
convolution: that becomes ConvInteger, which has no fast kernel, with passes over memory around it (ONNX
Runtime 1.31, one thread, CPU with VNNI: MobileNetV2 58.5 ms instead of 7.7 in float, ResNet-50 277 ms instead
of 79). So for a CNN this is a smaller classifier at no cost in time, and no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode

from edgecnn.errors import QuantizationError
from edgecnn.graph.index import GraphIndex, attribute, opset_version
from edgecnn.graph.reading import require_nodes

__all__ = ["MIN_OPSET", "quantize_dynamically"]

#: DynamicQuantizeLinear came with it.
MIN_OPSET = 11

#: What the quantiser does not know, and so does not touch: it would split each Gemm, kept in float or not.
_HIDDEN = "edgecnn.hidden"


def quantize_dynamically(
    model: onnx.ModelProto, keep_float: Collection[str] = (), *, reduce_range: bool = False
) -> onnx.ModelProto:
    """A copy of ``model`` whose Gemm and MatMul with constant weights multiply 8-bit integers.

    Activations are uint8, their range that of the values in the run; weights are int8, one scale per output
    channel. Convolutions stay in float. Names and types of input and output, the dynamic batch and the opset
    stay. The node ``NAME`` becomes ``NAME_quant`` (MatMulInteger) and nodes around it.

    Args:
        model: in float32, opset 11 or later, below 2 GiB.
        keep_float: names of nodes that stay in float.
        reduce_range: weights of 7 bits, for x86 CPUs whose 8-bit products saturate (without VNNI).

    Raises:
        QuantizationError: the opset is older, or there is no product to quantise.
        UnknownNameError: no node has a name in ``keep_float``.
    """
    require_nodes(model, keep_float)
    if opset_version(model) < MIN_OPSET:
        raise QuantizationError(
            f"The model is in opset {opset_version(model)}, and dynamic quantisation needs {MIN_OPSET}.",
            "Export it again: edgecnn export NET --opset 18",
        )
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    products = _split_products(prepared, keep_float)
    if not products:
        raise QuantizationError(
            "The model has no matrix product with constant weights that may be quantised dynamically, and "
            "convolutions are slower so.",
            "Use static int8 (--recipe auto) with calibration images.",
        )
    hidden = _hide_products(prepared)
    quantised = _quantise(prepared, products, reduce_range=reduce_range)
    _show_products(quantised, hidden)
    return quantised


def _split_products(model: onnx.ModelProto, keep_float: Collection[str]) -> list[str]:
    """Make MatMul and Add of each Gemm that is to be quantised; the names of all MatMul that are."""
    index = GraphIndex(model.graph)
    nodes: list[onnx.NodeProto] = []
    products: list[str] = []
    for node in model.graph.node:
        chosen = node.name not in keep_float and _multiplies_by_weights(node, index)
        nodes += _split(node, index) if chosen and node.op_type == "Gemm" else [node]
        if chosen:
            products.append(node.name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return products


def _multiplies_by_weights(node: onnx.NodeProto, index: GraphIndex) -> bool:
    if node.op_type not in {"Gemm", "MatMul"} or not node.name or not index.is_constant(node.input[1]):
        return False
    scaled = attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0
    return not scaled and not attribute(node, "transA", 0) and index.constant(node.input[1]).ndim == 2


def _split(node: onnx.NodeProto, index: GraphIndex) -> Iterator[onnx.NodeProto]:
    """The product keeps the name of the node."""
    data, weights, result = node.input[0], node.input[1], node.output[0]
    if attribute(node, "transB", 0):
        turned = np.ascontiguousarray(index.constant(weights).T)
        weights = index.add_constant(f"{weights}/transposed", turned)
    biased = len(node.input) > 2 and node.input[2] != ""
    product = f"{node.name}/product" if biased else result
    yield helper.make_node("MatMul", [data, weights], [product], name=node.name)
    if biased:
        yield helper.make_node("Add", [product, node.input[2]], [result], name=f"{node.name}/Add")


def _hide_products(model: onnx.ModelProto) -> list[str]:
    """Have every Gemm that is left be unknown, its result's type still known; their names."""
    del model.graph.value_info[:]  # those of the weights, where there are some, would be of the wrong shape
    typed = onnx.shape_inference.infer_shapes(model)
    model.graph.value_info.extend(typed.graph.value_info)
    gemms = [node for node in model.graph.node if node.op_type == "Gemm"]
    for node in gemms:
        node.domain = _HIDDEN
        node.op_type = "HiddenGemm"
    if gemms:
        model.opset_import.append(helper.make_opsetid(_HIDDEN, 1))
    return [node.name for node in gemms]


def _quantise(model: onnx.ModelProto, products: list[str], *, reduce_range: bool) -> onnx.ModelProto:
    quantiser = ONNXQuantizer(
        model,
        True,
        reduce_range,
        QuantizationMode.IntegerOps,
        False,
        QuantType.QInt8,
        QuantType.QUInt8,
        None,
        products,
        [],
        ["MatMul"],
        {"MatMulConstBOnly": True},
    )
    quantiser.quantize_model()
    quantised: onnx.ModelProto = quantiser.model.model
    return quantised


def _show_products(model: onnx.ModelProto, hidden: Collection[str]) -> None:
    for node in model.graph.node:
        if node.domain == _HIDDEN and node.name in hidden:
            node.domain = ""
            node.op_type = "Gemm"
    for entry in [entry for entry in model.opset_import if entry.domain == _HIDDEN]:
        model.opset_import.remove(entry)

"""What must hold before a model is quantised: its form, its opset, and the images for its ranges."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, version_converter

from edgecnn.artifact import graph_input
from edgecnn.data import LabelledImages, image_hashes
from edgecnn.errors import DataError, QuantizationError
from edgecnn.graph.index import GraphIndex, opset_version
from edgecnn.graph.reading import half_constants
from edgecnn.graph.shapes import value_types
from edgecnn.quantize.sessions import Session
from edgecnn.spec import ModelSpec

__all__ = [
    "FEW_IMAGES",
    "at_least_opset",
    "at_most_opset",
    "check_calibration",
    "require_disjoint",
    "require_fitting_batch",
    "require_float",
    "require_quantisable",
]

#: Below this, one unusual image moves a range; a rule of thumb, and only ever a warning.
FEW_IMAGES = 32

#: Of the evaluation's images, how many percent may be among the calibration's. Ranges leak next to nothing of
#: an image into the result, so that chance duplicates do not matter, and a mixed-up data set is far above.
_SHARED_PERCENT = 1.0

#: Operators on quantised numbers besides those whose names begin with QLinear.
_QUANTISED = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"),
        *("MatMulNBits", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm", "GatherBlockQuantized"),
    }
)
_INTEGERS = frozenset({TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4})
_CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_STANDARD = frozenset({"", "ai.onnx"})
_WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})

_EXPORT_AGAIN = "Export it again: edgecnn export NET --opset 18"


def require_float(model: onnx.ModelProto, path: Path) -> None:
    """Refuse what is quantised already, and what is not in float32.

    Args:
        model: to be quantised to int8.
        path: where it came from, for the message.

    Raises:
        QuantizationError: it holds quantised operators, weights stored in 8 bits or less, or float16 or
            bfloat16 constants. The message names them.
    """
    quantised = Counter(node.op_type for node in model.graph.node if _is_quantised(node))
    if quantised:
        kinds = ", ".join(f"{count} {kind}" for kind, count in quantised.most_common(3))
        first = next(node for node in model.graph.node if _is_quantised(node))
        raise _already(path, f"it holds {kinds}; the first is {_called(first)}")
    stored = _stored_in_integers(model)
    if stored:
        raise _already(path, f"{len(stored)} of its weights are stored as integers, such as {stored[0]!r}")
    half = half_constants(model)
    if half:
        name, kind = next(iter(half.items()))
        raise QuantizationError(
            f"{path} is not in float32: {len(half)} of its constants are in {kind}, such as {name!r}.",
            "Give the float32 model that it was made from: its weights have lost what int8 ranges need.",
        )


def require_fitting_batch(model: onnx.ModelProto, spec: ModelSpec, path: Path) -> None:
    """Refuse a graph that takes a fixed number of images where its spec says any: runs of others would fail.

    It is fixed by its input, or further in, such as by a Reshape to the shape of its export's example.

    Args:
        model: the graph.
        spec: what is said of it.
        path: where it came from, for the message.

    Raises:
        QuantizationError: it is so.
    """
    tensor = graph_input(model)
    size = tensor.shape[0] if tensor.shape else None
    if spec.input.dynamic_batch and isinstance(size, int) and size > 0:
        raise QuantizationError(
            f"{path}: its input {tensor.name!r} is fixed to a batch of {size}, and its spec says any number.",
            "Export it again with a dynamic batch ('edgecnn export NET --batch dynamic'; elsewhere, make "
            "dimension 0 of input and output dynamic), or save it with a spec whose input and output say "
            f"{size}.",
        )
    if spec.input.dynamic_batch:
        _try_two_images(model, spec)


def _try_two_images(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Run the model where its shapes, inferred for two images, come to another number of answers."""
    output = value_types(model, images=2).get(model.graph.output[0].name)
    sizes = [size for size in spec.input.shape[1:] if isinstance(size, int)]
    if output is not None and output.shape and output.shape[0] != 2:
        Session(model, threads=1).scores(np.zeros((2, *sizes), spec.input.dtype))


def require_quantisable(model: onnx.ModelProto) -> None:
    """Refuse graphs whose ranges cannot be told, or in which there is nothing to quantise.

    Raises:
        QuantizationError: control flow, operators outside ONNX's standard domain, or no Conv, Gemm or
            MatMul that multiplies with constant weights.
    """
    for node in model.graph.node:
        if node.domain not in _STANDARD:
            raise QuantizationError(
                f"The {_called(node)} is {node.domain}.{node.op_type}: outside the operators of ONNX.",
                "Quantise the model as it was exported, not one that an engine has optimised and saved.",
            )
        if node.op_type in _CONTROL_FLOW:
            raise QuantizationError(
                f"The {_called(node)} is control flow ({node.op_type}), whose branches cannot be calibrated.",
                "Export the model without branches that depend on the input, or use --recipe fp16.",
            )
    index = GraphIndex(model.graph)
    if not any(n.op_type in _WEIGHTED and n.input[1] in index.constants for n in model.graph.node):
        raise QuantizationError(
            "The model has no convolution or matrix product with constant weights: nothing to quantise.",
            "Check the file with 'edgecnn inspect'; weights must be stored in it.",
        )


def at_most_opset(model: onnx.ModelProto, limit: int) -> onnx.ModelProto:
    """``model`` itself where its opset is at most ``limit``, else a copy converted down to it.

    Names of nodes, inputs and outputs, dynamic dimensions and metadata stay.

    Raises:
        QuantizationError: it cannot be converted; the message says why.
    """
    return model if opset_version(model) <= limit else _converted(model, limit)


def at_least_opset(model: onnx.ModelProto, minimum: int) -> onnx.ModelProto:
    """``model`` itself where its opset is at least ``minimum``, else a copy converted up to it.

    Names of nodes, inputs and outputs, dynamic dimensions and metadata stay.

    Raises:
        QuantizationError: it cannot be converted; the message says why.
    """
    return model if opset_version(model) >= minimum else _converted(model, minimum)


def check_calibration(source: LabelledImages, labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Whether images can give ranges at all, and what is doubtful about them.

    Args:
        source: to calibrate on.
        labels: (n,) the class of each image.

    Returns:
        Warnings, each a sentence with its remedy.

    Raises:
        DataError: there is no image, or one alone.
    """
    count = len(source)
    if count < 2:
        found = "no images" if count == 0 else "one image, and the ranges of one image are none"
        raise DataError(
            f"{source.name} holds {found}: nothing to calibrate on.",
            f"Give --calib a few hundred images of all classes; {FEW_IMAGES} at the very least.",
        )
    warnings: list[str] = []
    if len(np.unique(labels)) == 1:
        warnings.append(
            f"All {count} calibration images of {source.name} are of one class "
            f"({_class_of(source, labels)}): others may exceed their ranges. Give images of all classes."
        )
    if count < FEW_IMAGES:
        warnings.append(
            f"{source.name} holds {count} calibration images: one unusual image moves the ranges. "
            f"Give {FEW_IMAGES} or more, better a few hundred."
        )
    return tuple(warnings)


def require_disjoint(calibration: LabelledImages, evaluation: LabelledImages) -> tuple[str, ...]:
    """Refuse to measure accuracy on images that the ranges come from; told by the images' content.

    One image in two encodings counts as two.

    Returns:
        A warning where a few images, at most 1 % of the evaluation's, are in both; else nothing.

    Raises:
        DataError: more are in both, or all, or there is nothing to evaluate on.
        ImageError: a file cannot be read.
    """
    if len(evaluation) == 0:
        raise DataError(f"{evaluation.name} holds no images to evaluate on.", "Give a folder that has some.")
    shared = _shared_keys(evaluation, image_hashes(calibration))
    if not shared:
        return ()
    remedy = "Calibrate on other images, such as a part of the training set."
    if len(shared) == len(evaluation):
        raise DataError(
            f"{evaluation.name} is to be evaluated on, and all of its images are among those of "
            f"{calibration.name}, the calibration's: the accuracy would say nothing of new images.",
            remedy,
        )
    text = (
        f"{len(shared)} of the {len(evaluation)} evaluation images of {evaluation.name} are also calibration "
        f"images of {calibration.name}, the first of them {shared[0]}."
    )
    if 100 * len(shared) > _SHARED_PERCENT * len(evaluation):
        raise DataError(text, remedy)
    return (f"{text} {remedy}",)


def _is_quantised(node: onnx.NodeProto) -> bool:
    return node.op_type in _QUANTISED or node.op_type.startswith("QLinear")


def _stored_in_integers(model: onnx.ModelProto) -> list[str]:
    """Constants of 8 bits or less that are cast before they are used, as weight-only files have them."""
    constants = GraphIndex(model.graph).constants
    casts = [node.input[0] for node in model.graph.node if node.op_type == "Cast"]
    return [name for name in casts if name in constants and constants[name].data_type in _INTEGERS]


def _already(path: Path, what: str) -> QuantizationError:
    return QuantizationError(
        f"{path} is already quantised: {what}.", "Give the float32 model that it was made from."
    )


def _called(node: onnx.NodeProto) -> str:
    return f"node {node.name!r}" if node.name else f"node that makes {node.output[0]!r}"


def _converted(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    try:
        converted: onnx.ModelProto = version_converter.convert_version(model, version)
        onnx.checker.check_model(converted, full_check=True)
    except (
        RuntimeError,  # what the converter raises, and ConvertError with it
        ValueError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        raise QuantizationError(
            f"The model is in opset {opset_version(model)}, opset {version} is needed, and ONNX's converter "
            f"fails: {_reason(error)}",
            _EXPORT_AGAIN,
        ) from error
    _require_same_names(model, converted)
    # It also kept them in onnx 1.23; nothing says that it must.
    del converted.metadata_props[:]
    converted.metadata_props.extend(model.metadata_props)
    return converted


def _require_same_names(model: onnx.ModelProto, converted: onnx.ModelProto) -> None:
    """The converter may add nodes; those that users know must still be there."""
    gone = {node.name for node in model.graph.node} - {node.name for node in converted.graph.node}
    ends = [[value.name for value in chain(m.graph.input, m.graph.output)] for m in (model, converted)]
    if gone or ends[0] != ends[1]:
        raise QuantizationError(
            f"ONNX's converter to opset {opset_version(converted)} lost names of the model, such as "
            f"{next(iter(sorted(gone)), 'those of inputs or outputs')!r}.",
            _EXPORT_AGAIN,
        )


def _reason(error: Exception) -> str:
    """Without the place in the converter's own source."""
    text = " ".join(str(error).split())
    return text.rpartition("failed: ")[2] or type(error).__name__


def _class_of(source: LabelledImages, labels: NDArray[np.int64]) -> str:
    label = int(source.labels[0])
    return source.classes[label] if source.classes else f"label {int(labels[0])}"


def _shared_keys(source: LabelledImages, hashes: Collection[str]) -> list[str]:
    """The keys of those images whose content has one of the ``hashes``."""
    return [
        source.key(index)
        for index in range(len(source))
        if hashlib.sha256(source.content(index)).hexdigest() in hashes
    ]

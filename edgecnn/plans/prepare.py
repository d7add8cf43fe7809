"""From an artifact to the ONNX file that TensorRT's parser takes."""

from __future__ import annotations

from pathlib import Path

import onnx

from edgecnn.artifact import MAX_SINGLE_FILE_BYTES, Artifact, read_onnx
from edgecnn.errors import ArtifactError, DependencyMissingError, QuantizationError
from edgecnn.graph.uint8_layout import cast_before_transpose
from edgecnn.plans.spec import PlanPrecision

__all__ = ["prepare"]


def prepare(artifact: Artifact, precision: PlanPrecision, folder: Path) -> Path:
    """The model in ``precision``, with what TensorRT's parser refuses put right.

    Args:
        artifact: an ONNX model.
        precision: its own, or "fp16" for a model in float32.
        folder: for the new file, if there is one.

    Returns:
        The artifact's own file where nothing is to be done.

    Raises:
        ArtifactError: it cannot be read or converted.
        DependencyMissingError: converting to fp16 needs a package that is not installed.
    """
    converts = precision == "fp16" and artifact.spec.precision == "fp32"
    if not converts and artifact.spec.input.dtype != "uint8":
        return artifact.path
    model = read_onnx(artifact.path)
    exchanged = cast_before_transpose(model)
    if converts:
        model = _half(model, artifact)
    elif not exchanged:
        return artifact.path
    return _saved(model, folder / "model.onnx")


def _half(model: onnx.ModelProto, artifact: Artifact) -> onnx.ModelProto:
    try:
        from edgecnn.graph.half import to_half
    except ModuleNotFoundError as error:
        raise DependencyMissingError(
            error.name or "onnxconverter-common", "Converting a model to fp16", "cpu"
        ) from error
    try:
        return to_half(model)
    except QuantizationError as error:
        raise ArtifactError(
            f"{artifact.path} cannot be converted to fp16: {error.problem}",
            "Convert it with some nodes left in float, and build that: "
            f"edgecnn quantize {artifact.path} --recipe fp16 --keep-float NODE -o F.onnx",
        ) from error


def _saved(model: onnx.ModelProto, path: Path) -> Path:
    # The fp16 converter refuses what is larger, so that this is only ever a model that stays in float32.
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > MAX_SINGLE_FILE_BYTES
    onnx.save_model(model, path, save_as_external_data=large, location="model.data" if large else None)
    return path

"""From a model file to OpenVINO's compiled model: settings, reading, refusals."""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Any

from edgecnn.artifact import Artifact
from edgecnn.engines.base import EngineOptions
from edgecnn.engines.openvino_cache import cached_blob, store_blob
from edgecnn.engines.telemetry import without_telemetry
from edgecnn.environment import usable_cores
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.spec import Precision

with without_telemetry():
    import openvino
    from openvino import CompiledModel, Core, Model, frontend

__all__ = ["ERRORS", "compile_artifact", "compile_nothing", "reason"]

_LOG = logging.getLogger(__name__)

_DEVICE = "CPU"

#: What OpenVINO raises; those of the frontend derive from nothing but Exception.
ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    TypeError,
    frontend.GeneralFailure,
    frontend.InitializationFailure,
    frontend.NotImplementedFailure,
    frontend.OpConversionFailure,
    frontend.OpValidationFailure,
)

#: What a refusal's text speaks of -> what to do about it; the first that matches counts.
_REMEDIES = (
    (
        r"Could not open the file",
        "Check the path, or make the file: edgecnn export NET -o FILE",
    ),
    (
        r"external(ly stored)? data",
        "Keep the file of external weights, whole, in the same folder as the model.",
    ),
    (
        r"No conversion rule|isn't supported|not supported",
        "Export it again with another --opset, or run it in another engine ('edgecnn doctor' lists them).",
    ),
    (
        r"can't be parsed",
        "It is damaged or not an ONNX model: export or copy it again.",
    ),
)

#: Lines of a message that say where in OpenVINO's code something failed, not what.
_PLACE_IN_CODE = (
    r"^(?:Exception from |Check '.*' failed at |FrontEnd API failed with |Loading input model$).*$"
)

#: Precision -> OpenVINO's name of the type.
_TYPES = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}


def compile_artifact(artifact: Artifact, options: EngineOptions) -> CompiledModel:
    """Convert and compile the model, or take it from the cache where ``options.cache`` is on.

    Raises:
        EngineUnavailableError: this OpenVINO has no CPU plugin, or no reader of ONNX.
        EngineError: it refuses the model, or the CPU cannot do what the options ask for.
    """
    settings = _settings(options, artifact.spec.precision)
    if not options.cache:
        return _compiled(artifact, options.batch, settings)
    made_for = (
        f"edgecnn 1, OpenVINO {openvino.__version__}, {_core().get_property(_DEVICE, 'FULL_DEVICE_NAME')}, "
        f"{_able()}, batch {options.batch}, {sorted(settings.items())}, {artifact.sha256()}"
    )
    if (blob := cached_blob(made_for)) is not None:
        try:
            return _core().import_model(blob, _DEVICE, settings)
        except ERRORS as error:
            _LOG.warning("A compiled model in the cache is damaged and made again: %s", reason(error))
    compiled = _compiled(artifact, options.batch, settings)
    store_blob(made_for, compiled.export_model().getvalue())
    return compiled


def compile_nothing() -> CompiledModel:
    """A model that does nothing, compiled as one would be without options: it tells what would be used.

    Raises:
        EngineUnavailableError: as for :func:`compile_artifact`.
    """
    _reader()
    parameter = openvino.op.Parameter(openvino.Type.f32, openvino.Shape([1]))
    nothing = openvino.Model([parameter], [parameter], "nothing")
    return _core().compile_model(nothing, _DEVICE, _settings(EngineOptions(), "fp32"))


def _settings(options: EngineOptions, precision: Precision) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": (options.hint or "latency").upper(),
        "INFERENCE_PRECISION_HINT": _float_type(options, precision),
        "INFERENCE_NUM_THREADS": options.threads or usable_cores(),
        "ENABLE_HYPER_THREADING": True,  # the number of threads is the caller's to choose
        "ENABLE_CPU_PINNING": False,  # two processes would pin themselves to the same cores
    }
    if options.streams is not None:
        settings["NUM_STREAMS"] = options.streams
    return settings


def _float_type(options: EngineOptions, precision: Precision) -> str:
    """The type of float arithmetic: the one asked for, or the artifact's own where the CPU has it.

    A CPU without fp16 would take a request for it as one for bfloat16, which has three bits less.

    Raises:
        EngineError: the CPU has no arithmetic in the precision that was asked for.
    """
    wanted = options.precision
    if wanted is None:
        return _TYPES.get(precision, "f32") if precision.upper() in _able() else "f32"
    if wanted.upper() not in _able():
        raise EngineError(
            f"This CPU ({_core().get_property(_DEVICE, 'FULL_DEVICE_NAME')}) does not compute in {wanted}: "
            f"OpenVINO finds {', '.join(name for name in _TYPES if name.upper() in _able())}.",
            "Ask for another precision, or leave it out.",
        )
    return _TYPES[wanted]


def _able() -> list[str]:
    able: list[str] = _core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    return able


@cache
def _core() -> Core:
    """The one core of the process.

    Raises:
        EngineUnavailableError: it has no CPU plugin.
    """
    core, missing = Core(), "it is not registered"
    try:  # not available_devices, which loads the plugins of all devices: 5.5 MB
        found = core.get_versions(_DEVICE)
    except ERRORS as error:
        found, missing = {}, reason(error)
    if _DEVICE not in found:
        raise EngineUnavailableError(
            f"OpenVINO {openvino.__version__} has no CPU plugin: {missing}.",
            "Install a build with it: pip install --force-reinstall openvino",
        )
    return core


def _reader() -> frontend.FrontEnd:
    """The frontend for ONNX alone: ``read_model`` would offer a damaged file to TensorFlow's, which logs.

    Raises:
        EngineUnavailableError: this build of OpenVINO has none.
    """
    _core()
    try:
        return frontend.FrontEndManager().load_by_framework("onnx")
    except ERRORS as error:
        raise EngineUnavailableError(
            f"OpenVINO {openvino.__version__} does not read ONNX: {reason(error)}",
            "Install a build that does: pip install --force-reinstall openvino",
        ) from error


def _compiled(artifact: Artifact, batch: int | None, settings: dict[str, Any]) -> CompiledModel:
    """Open the model by its path, so that external weights beside it are found."""
    reader = _reader()
    try:
        model = reader.convert(reader.load(str(artifact.path)))
        if batch is not None:
            _fix_batch(model, batch)
        return _core().compile_model(model, _DEVICE, settings)
    except ERRORS as error:
        said = reason(error)
        default = "Check the model with onnx.checker, or export it again."
        remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, said)), default)
        raise EngineError(
            f"{artifact.path} does not open in OpenVINO {openvino.__version__}: {said}", remedy
        ) from error


def _fix_batch(model: Model, batch: int) -> None:
    """Kernels for a known size are some percent faster."""
    shapes = {port: port.partial_shape for port in model.inputs}
    for shape in shapes.values():
        shape[0] = batch
    model.reshape(shapes)


def reason(error: Exception) -> str:
    """The message in one line, without the places in C++ code."""
    text = re.sub(_PLACE_IN_CODE, "", str(error), flags=re.MULTILINE)
    return " ".join(text.split()) or type(error).__name__

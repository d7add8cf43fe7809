"""OpenVINO on the CPU."""

from __future__ import annotations

import re
from collections import deque
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.engines.base import Batch, EngineInfo, EngineOptions
from edgecnn.engines.opened import OpenEngine
from edgecnn.engines.telemetry import without_telemetry
from edgecnn.environment import usable_cores
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.spec import ModelSpec, Precision

with without_telemetry():
    import openvino
    from openvino import CompiledModel, ConstOutput, Core, InferRequest, frontend

__all__ = ["OpenVinoEngine"]

_DEVICE = "CPU"

#: What OpenVINO raises; those of the frontend derive from nothing but Exception.
_ERRORS: tuple[type[Exception], ...] = (
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

_OF_TYPES: dict[str, Precision] = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}


class OpenVinoEngine(OpenEngine):
    """Runs an ONNX file with OpenVINO's CPU plugin, for latency: one stream over all its threads.

    Arithmetic in float is float32, in quantised models as well: left to itself, OpenVINO takes bfloat16 on a
    CPU that has it. Only an artifact that is in half precision itself runs in it, where the CPU can.

    ``run`` may be called from several threads at once: each call has its own infer request, and as they
    share the one stream they take turns. Each result is a new array. OpenVINO starts no more threads than
    the machine has cores; ``info.threads`` says how many it took. ``options.spin`` has no effect.
    """

    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        """Convert and compile the model; the file is not needed any more afterwards.

        Raises:
            EngineUnavailableError: this OpenVINO has no CPU plugin, or no reader of ONNX.
            EngineError: it refuses the model, or the model's input or output is not what the spec says.
        """
        spec = artifact.spec
        compiled = _compiled(artifact, options.threads or usable_cores())
        _require_match(compiled, artifact)
        super().__init__(spec, _info(compiled, spec.precision), partial(_infer, compiled, deque(), spec))

    @classmethod
    def check(cls) -> EngineInfo:
        """What would run here.

        Raises:
            EngineUnavailableError: this OpenVINO has no CPU plugin, or no reader of ONNX.
        """
        _reader()
        parameter = openvino.op.Parameter(openvino.Type.f32, openvino.Shape([1]))
        nothing = openvino.Model([parameter], [parameter], "nothing")
        settings = _settings(usable_cores(), "fp32")
        return _info(_core().compile_model(nothing, _DEVICE, settings), "fp32")


def _info(compiled: CompiledModel, precision: Precision) -> EngineInfo:
    """What the compiled model says of itself."""
    floats = _OF_TYPES[compiled.get_property("INFERENCE_PRECISION_HINT").to_string()]
    return EngineInfo(
        name="openvino",
        version=openvino.__version__.partition("-")[0],
        device="cpu",
        threads=compiled.get_property("INFERENCE_NUM_THREADS"),
        precision=precision if precision in ("int8", "mixed") else floats,
        providers=tuple(compiled.get_property("EXECUTION_DEVICES")),
        parallel_runs=True,
    )


def _settings(threads: int, precision: Precision) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _float_type(precision),
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_HYPER_THREADING": True,  # the number of threads is the caller's to choose
        "ENABLE_CPU_PINNING": False,  # two processes would pin themselves to the same cores
    }


def _float_type(precision: Precision) -> str:
    """The type of float arithmetic: half precision where artifact and CPU have it, otherwise float32.

    A CPU without fp16 would take a request for it as one for bfloat16, which has three bits less.
    """
    wanted = {"fp16": "f16", "bf16": "bf16"}.get(precision, "f32")
    able: list[str] = _core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    return wanted if precision.upper() in able else "f32"


@cache
def _core() -> Core:
    """The one core of the process.

    Raises:
        EngineUnavailableError: it has no CPU plugin.
    """
    core = Core()
    if _DEVICE not in core.available_devices:
        raise EngineUnavailableError(
            f"OpenVINO {openvino.__version__} has no CPU plugin: "
            f"it offers {', '.join(core.available_devices) or 'no device'}.",
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
    except _ERRORS as error:
        raise EngineUnavailableError(
            f"OpenVINO {openvino.__version__} does not read ONNX: {_reason(error)}",
            "Install a build that does: pip install --force-reinstall openvino",
        ) from error


def _compiled(artifact: Artifact, threads: int) -> CompiledModel:
    """Open the model by its path, so that external weights beside it are found."""
    reader, settings = _reader(), _settings(threads, artifact.spec.precision)
    try:
        model = reader.convert(reader.load(str(artifact.path)))
        return _core().compile_model(model, _DEVICE, settings)
    except _ERRORS as error:
        reason = _reason(error)
        default = "Check the model with onnx.checker, or export it again."
        remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, reason)), default)
        raise EngineError(
            f"{artifact.path} does not open in OpenVINO {openvino.__version__}: {reason}", remedy
        ) from error


def _infer(compiled: CompiledModel, idle: deque[InferRequest], spec: ModelSpec, batch: Batch) -> NDArray[Any]:
    """Run on an idle request, or on a new one; there are never more than there were callers at once."""
    try:
        request = idle.pop()
    except IndexError:
        request = compiled.create_infer_request()
    try:
        answers = request.infer({spec.input.name: np.ascontiguousarray(batch)}, share_inputs=True)
        scores: NDArray[Any] = answers[compiled.output(spec.output.name)]
    except _ERRORS as error:
        raise EngineError(
            f"OpenVINO failed to run {spec.network!r}: {_reason(error)}",
            "If memory is short, try a smaller batch; otherwise export the model again with --batch dynamic.",
        ) from error
    idle.append(request)
    return scores


def _require_match(compiled: CompiledModel, artifact: Artifact) -> None:
    """A spec that was given for a foreign file may speak of another model."""
    spec = artifact.spec
    inputs = {_name(port): _dtype(port) for port in compiled.inputs}
    outputs = [name for port in compiled.outputs for name in port.names]
    if inputs != {spec.input.name: spec.input.dtype} or spec.output.name not in outputs:
        taken = ", ".join(f"{name} ({dtype})" for name, dtype in inputs.items())
        raise EngineError(
            f"{artifact.path} maps {taken or 'nothing'} to {', '.join(outputs) or 'nothing'}, and its spec "
            f"maps {spec.input.name} ({spec.input.dtype}) to {spec.output.name}.",
            "Give the spec that belongs to this file (--spec).",
        )


def _name(port: ConstOutput) -> str:
    return str(port.any_name)


def _dtype(port: ConstOutput) -> str:
    return str(np.dtype(port.element_type.to_dtype()))


def _reason(error: Exception) -> str:
    """The message in one line, without the places in C++ code."""
    text = re.sub(_PLACE_IN_CODE, "", str(error), flags=re.MULTILINE)
    return " ".join(text.split()) or type(error).__name__

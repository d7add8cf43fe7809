"""ONNX Runtime on the CPU."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from edgecnn.artifact import Artifact
from edgecnn.engines.base import Batch, EngineInfo, EngineOptions
from edgecnn.engines.opened import OpenEngine
from edgecnn.environment import usable_cores
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.spec import ModelSpec, Precision

__all__ = ["OrtEngine"]

_PROVIDERS = ("CPUExecutionProvider",)

#: All that ONNX Runtime raises of its own; they share no base class.
_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(ort_errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
)

#: What a refusal's text speaks of -> what to do about it; the first that matches counts.
_REMEDIES = (
    (
        r"File doesn't exist|NO_SUCHFILE",
        "Check the path, or make the file: edgecnn export NET -o FILE",
    ),
    (
        r"[Ee]xternal (data|initializer)",
        "Keep the file of external weights, whole, in the same folder as the model.",
    ),
    (
        r"\bopset|IR version",
        "Export again with an older --opset, or update the runtime: pip install --upgrade onnxruntime",
    ),
    (
        r"No Op registered|not a registered function|Could not find an implementation|Type Error",
        "Export it again with another --opset, or run it in another engine ('edgecnn doctor' lists them).",
    ),
    (
        r"Protobuf parsing failed|No graph was found",
        "It is damaged or not an ONNX model: export or copy it again.",
    ),
)

_PREFIX = r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from .*? failed:)?"

#: "file.cc:12 ", and after it a bare name of a function, or a whole signature.
_PLACE_IN_CODE = r"\S+\.(?:cc|h):\d+ (?:void |\w*[a-z][A-Z]\w* )?(?:[\w:]+\([^()]*\) )?"

_LOG_NOTHING_BUT_FATAL = 4


class OrtEngine(OpenEngine):
    """Runs an ONNX file with ONNX Runtime's CPU provider, all graph optimisations on.

    ``run`` may be called from several threads at once: they share the session and its one pool of threads.
    Each result is a new array.
    """

    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        """Load and optimise the model; the file is not needed any more afterwards.

        Raises:
            EngineUnavailableError: this ONNX Runtime has no CPU provider.
            EngineError: it refuses the model, or the model's input or output is not what the spec says.
        """
        info = _info(options.threads or usable_cores(), artifact.spec.precision)
        session = _session(artifact.path, info.threads, spin=options.spin)
        _require_providers(session.get_providers())
        _require_names(session, artifact)
        super().__init__(artifact.spec, info, partial(_infer, session, artifact.spec))

    @classmethod
    def check(cls) -> EngineInfo:
        """What would run here.

        Raises:
            EngineUnavailableError: this ONNX Runtime has no CPU provider.
        """
        _require_providers(onnxruntime.get_available_providers())
        return _info(usable_cores(), "fp32")


def _info(threads: int, precision: Precision) -> EngineInfo:
    return EngineInfo(
        name="ort",
        version=onnxruntime.__version__,
        device="cpu",
        threads=threads,
        precision=precision,
        providers=_PROVIDERS,
        parallel_runs=True,
    )


def _infer(session: InferenceSession, spec: ModelSpec, batch: Batch) -> NDArray[Any]:
    try:
        scores: NDArray[Any] = session.run([spec.output.name], {spec.input.name: batch})[0]
    except _ERRORS as error:
        raise EngineError(
            f"ONNX Runtime failed to run {spec.network!r}: {_reason(error)}",
            "If memory is short, try a smaller batch; otherwise export the model again with --batch dynamic.",
        ) from error
    return scores


def _session(path: Path, threads: int, *, spin: bool) -> InferenceSession:
    """Open the model by its path, so that external weights beside it are found."""
    settings = SessionOptions()
    settings.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    settings.log_severity_level = _LOG_NOTHING_BUT_FATAL  # what it would log, the exception says
    try:
        return InferenceSession(str(path), settings, providers=list(_PROVIDERS))
    except _ERRORS as error:
        reason = _reason(error)
        default = "Check the model with onnx.checker, or export it again."
        remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, str(error))), default)
        raise EngineError(
            f"{path} does not open in ONNX Runtime {onnxruntime.__version__}: {reason}", remedy
        ) from error


def _require_providers(providers: list[str]) -> None:
    """ONNX Runtime drops a provider that it cannot use, and goes on with others."""
    if not set(_PROVIDERS) <= set(providers):
        raise EngineUnavailableError(
            f"ONNX Runtime {onnxruntime.__version__} uses {', '.join(providers) or 'no provider'} instead of "
            f"{', '.join(_PROVIDERS)}.",
            "Install a build with it: pip install --force-reinstall 'edgecnn[cpu]'",
        )


def _require_names(session: InferenceSession, artifact: Artifact) -> None:
    """A spec that was given for a foreign file may speak of another model."""
    spec = artifact.spec
    inputs = [value.name for value in session.get_inputs()]
    outputs = [value.name for value in session.get_outputs()]
    if inputs != [spec.input.name] or spec.output.name not in outputs:
        raise EngineError(
            f"{artifact.path} maps {', '.join(inputs)} to {', '.join(outputs)}, and its spec maps "
            f"{spec.input.name} to {spec.output.name}.",
            "Give the spec that belongs to this file (--spec).",
        )


def _reason(error: Exception) -> str:
    """The message without the error's number, the path, which the caller names, and places in C++ code."""
    text = re.sub(_PREFIX, "", str(error).strip())
    return " ".join(re.sub(_PLACE_IN_CODE, "", text).split())

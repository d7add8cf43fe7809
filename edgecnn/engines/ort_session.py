"""What the engines on ONNX Runtime have in common: sessions, and what their errors mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from edgecnn.artifact import Artifact
from edgecnn.errors import EngineError
from edgecnn.spec import ModelSpec

__all__ = ["ERRORS", "Providers", "open_session", "require_names", "run_failure", "session_settings"]

#: Names of execution providers, alone or with their options.
Providers = Sequence[str | tuple[str, dict[str, Any]]]

#: All that ONNX Runtime raises of its own, which share no base class, and what it makes of C++ exceptions.
ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(ort_errors).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
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


def session_settings(threads: int) -> SessionOptions:
    """All graph optimisations, ``threads`` for each call, and no word on stderr."""
    settings = SessionOptions()
    settings.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _LOG_NOTHING_BUT_FATAL  # what it would log, the exception says
    return settings


def open_session(model: Path | bytes, settings: SessionOptions, providers: Providers) -> InferenceSession:
    """Open a model, a file's by its path, so that external weights beside it are found.

    Raises:
        EngineError: ONNX Runtime refuses it.
    """
    try:
        source = model if isinstance(model, bytes) else str(model)
        # Unless told otherwise, it prints what a provider failed with, and goes on with another.
        return InferenceSession(source, settings, providers=list(providers), enable_fallback=0)
    except ERRORS as error:
        default = "Check the model with onnx.checker, or export it again."
        remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, str(error))), default)
        name = model if isinstance(model, Path) else "A model"
        raise EngineError(
            f"{name} does not open in ONNX Runtime {onnxruntime.__version__}: {_reason(error)}", remedy
        ) from error


def run_failure(spec: ModelSpec, error: Exception) -> EngineError:
    """What to raise where ``error``, one of :data:`ERRORS`, ended a run."""
    return EngineError(
        f"ONNX Runtime failed to run {spec.network!r}: {_reason(error)}",
        "If memory is short, try a smaller batch; otherwise export the model again with --batch dynamic.",
    )


def require_names(session: InferenceSession, artifact: Artifact) -> None:
    """A spec that was given for a foreign file may speak of another model.

    Raises:
        EngineError: it does.
    """
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

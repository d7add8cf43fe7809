"""ONNX Runtime on the CPU."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import onnxruntime
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions

from edgecnn.artifact import Artifact
from edgecnn.engines import ENGINES
from edgecnn.engines.base import Batch, EngineInfo, EngineOptions, require_understood
from edgecnn.engines.opened import OpenEngine
from edgecnn.engines.ort_session import ERRORS, open_session, require_names, run_failure, session_settings
from edgecnn.environment import usable_cores
from edgecnn.errors import EngineUnavailableError
from edgecnn.spec import ModelSpec, Precision

__all__ = ["OrtEngine"]

_PROVIDERS = ("CPUExecutionProvider",)


class OrtEngine(OpenEngine):
    """Runs an ONNX file with ONNX Runtime's CPU provider, all graph optimisations on.

    ``run`` may be called from several threads at once: they share the session and its one pool of threads.
    Each result is a new array. Idle threads wait busily, and memory stays for the next run, unless
    ``options.spin`` and ``options.arena`` say otherwise.
    """

    understands: ClassVar[frozenset[str]] = ENGINES["ort"].understands

    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        """Load and optimise the model; the file is not needed any more afterwards.

        Raises:
            UsageError: an option that it does not understand.
            EngineUnavailableError: this ONNX Runtime has no CPU provider.
            EngineError: it refuses the model, or the model's input or output is not what the spec says.
        """
        require_understood("ort", self.understands, options)
        info = _info(options.threads or usable_cores(), artifact.spec.precision)
        session = open_session(artifact.path, _settings(info.threads, options, artifact.spec), _PROVIDERS)
        _require_providers(session.get_providers())
        require_names(session, artifact)
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
    except ERRORS as error:
        raise run_failure(spec, error) from error
    return scores


def _settings(threads: int, options: EngineOptions, spec: ModelSpec) -> SessionOptions:
    settings = session_settings(threads)
    settings.enable_cpu_mem_arena = options.arena is not False
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.spin is not False)))
    if _signed_activations(spec):
        # On x86, ONNX Runtime would turn int8 activations into uint8 where it can, and then run in float what
        # lies between the two types: of SqueezeNet for ARM, 24 of 26 convolutions (seen in 1.31).
        settings.add_session_config_entry("session.qdqisint8allowed", "1")
    return settings


def _signed_activations(spec: ModelSpec) -> bool:
    """Whether edgecnn quantised it for ARM, whose kernels take int8 activations."""
    done = spec.quantization
    return done is not None and done.target == "ort" and done.scheme.startswith("int8 activations")


def _require_providers(providers: list[str]) -> None:
    """ONNX Runtime drops a provider that it cannot use, and goes on with others."""
    if not set(_PROVIDERS) <= set(providers):
        raise EngineUnavailableError(
            f"ONNX Runtime {onnxruntime.__version__} uses {', '.join(providers) or 'no provider'} instead of "
            f"{', '.join(_PROVIDERS)}.",
            "Install a build with it: pip install --force-reinstall 'edgecnn[cpu]'",
        )

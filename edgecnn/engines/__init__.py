"""What runs an artifact. The table is lazy: an engine's library is imported when the engine is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from edgecnn.artifact import Artifact, is_plan
from edgecnn.engines.base import Engine, EngineInfo, EngineOptions, EngineType
from edgecnn.engines.plugin import open_plugin, plugin_type
from edgecnn.errors import EngineError, EngineUnavailableError, UnknownNameError, UsageError
from edgecnn.lookup import resolve

__all__ = ["ENGINES", "Engine", "EngineEntry", "EngineInfo", "EngineOptions", "engine_type", "open_engine"]


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """Where an engine is, and what it needs.

    Attributes:
        reference: "module:attribute" of its :class:`EngineType`.
        package: the distribution behind it.
        extra: the extra of edgecnn that installs it.
        understands: the names of the options that it may be opened with.
    """

    reference: str
    package: str
    extra: str
    understands: frozenset[str]

    @property
    def install_command(self) -> str:
        """What installs its library."""
        return f"pip install 'edgecnn[{self.extra}]'"


#: Options of the engines that run TensorRT plans, and no others.
_OF_PLANS = frozenset({"precision", "streams", "batch", "device", "graph"})

ENGINES = {
    "ort": EngineEntry(
        "edgecnn.engines.ort:OrtEngine", "onnxruntime", "cpu", frozenset({"threads", "spin", "arena"})
    ),
    "ort-cuda": EngineEntry(
        "edgecnn.engines.ort_cuda:OrtCudaEngine",
        "onnxruntime-gpu",
        "gpu",
        frozenset({"threads", "batch", "device", "graph"}),
    ),
    "openvino": EngineEntry(
        "edgecnn.engines.openvino:OpenVinoEngine",
        "openvino",
        "openvino",
        frozenset({"threads", "precision", "hint", "streams", "batch", "cache"}),
    ),
    "trt": EngineEntry("edgecnn.engines.trt:TrtEngine", "tensorrt-cu13", "trt", _OF_PLANS),
    "trt-rtx": EngineEntry("edgecnn.engines.trt_rtx:TrtRtxEngine", "tensorrt-rtx", "trt-rtx", _OF_PLANS),
    "torch": EngineEntry("edgecnn.engines.torch:TorchEngine", "torch", "export", frozenset({"threads"})),
    "torch-compile": EngineEntry(
        "edgecnn.engines.torch:CompiledTorchEngine", "torch", "export", frozenset({"threads"})
    ),
}


def engine_type(name: str) -> EngineType:
    """The engine named ``name``: one of the table, or the plug-in "package.module:Class".

    Raises:
        UnknownNameError: no such engine.
        UsageError: the plug-in does not exist, or is no engine.
        EngineUnavailableError: its library is not installed, or is broken.
    """
    if name in ENGINES:
        return _of_table(name)
    if ":" in name:
        return plugin_type(name)
    raise UnknownNameError("engine", name, ENGINES)


def _of_table(name: str) -> EngineType:
    entry = ENGINES[name]
    try:
        return cast(EngineType, resolve(entry.reference))
    except UsageError:
        raise
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"The engine {name!r} needs the package {entry.package!r}: there is no module {error.name!r}.",
            f"Install it: {entry.install_command}",
        ) from error
    except Exception as error:  # a native library may fail to load with anything
        raise EngineUnavailableError(
            f"The package {entry.package!r} of the engine {name!r} is installed and does not load: "
            f"{type(error).__name__}: {error}",
            f"Install it again: pip uninstall -y {entry.package}; {entry.install_command}",
        ) from error


def open_engine(name: str, artifact: Artifact, options: EngineOptions | None = None) -> Engine:
    """Open ``artifact`` in the engine ``name``. Never falls back to another engine or device.

    Raises:
        UsageError: no such engine, or an option that it does not understand.
        EngineUnavailableError: the engine cannot open on this machine.
        EngineError: the artifact does not open in it; of a plug-in, whatever else it raised.
    """
    if ":" in name:
        return open_plugin(name, artifact, options or EngineOptions())
    if is_plan(artifact.path) and name in ENGINES and ENGINES[name].understands is not _OF_PLANS:
        raise EngineError(
            f"{artifact.path} is a TensorRT plan, and the engine {name!r} runs no plans.",
            "Open it with what built it, --engine trt or --engine trt-rtx, or give the ONNX model.",
        )
    return engine_type(name)(artifact, options or EngineOptions())

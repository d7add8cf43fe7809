"""What runs an artifact. The table is lazy: an engine's library is imported when the engine is."""

from __future__ import annotations

from typing import cast

from edgecnn.artifact import Artifact
from edgecnn.engines.base import Engine, EngineInfo, EngineOptions, EngineType
from edgecnn.errors import UnknownNameError
from edgecnn.lookup import resolve

__all__ = ["ENGINES", "Engine", "EngineInfo", "EngineOptions", "engine_type", "open_engine"]

ENGINES = {
    "ort": "edgecnn.engines.ort:OrtEngine",
    "torch": "edgecnn.engines.torch:TorchEngine",
    "torch-compile": "edgecnn.engines.torch:CompiledTorchEngine",
}


def engine_type(name: str) -> EngineType:
    """The engine named ``name``.

    Raises:
        UnknownNameError: no such engine.
        EngineUnavailableError: its library is not installed.
    """
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    return cast(EngineType, resolve(ENGINES[name]))


def open_engine(name: str, artifact: Artifact, options: EngineOptions | None = None) -> Engine:
    """Open ``artifact`` in the engine ``name``. Never falls back to another engine or device.

    Raises:
        UnknownNameError: no such engine.
        EngineUnavailableError: the engine cannot open on this machine.
        EngineError: the artifact does not open in it.
    """
    return engine_type(name)(artifact, options or EngineOptions())

"""Engines that are not edgecnn's own, named as "package.module:Class"."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import fields
from typing import cast

from edgecnn.artifact import Artifact
from edgecnn.engines.base import CopyingEngine, Engine, EngineOptions, EngineType
from edgecnn.engines.guarded import GuardedCopyingEngine, GuardedEngine, blaming
from edgecnn.errors import EngineUnavailableError, UsageError
from edgecnn.lookup import resolve

__all__ = ["open_plugin", "plugin_type"]

_CONTRACT = "edgecnn.engines.base.EngineType says what one needs."

_OPTIONS = frozenset(field.name for field in fields(EngineOptions))


def plugin_type(reference: str) -> EngineType:
    """Import the engine that ``reference`` ("package.module:Class") names.

    Raises:
        UsageError: it does not exist, or is no :class:`EngineType`.
        EngineUnavailableError: something that it imports is missing or broken.
    """
    found = _resolved(reference)
    if problem := _problem(found):
        raise UsageError(f"{reference!r} is no engine: {problem}.", _CONTRACT)
    return cast(EngineType, found)


def open_plugin(reference: str, artifact: Artifact, options: EngineOptions) -> Engine:
    """Open ``artifact`` in the engine that ``reference`` names.

    Raises:
        UsageError: as :func:`plugin_type`, or an option that it does not understand.
        EngineUnavailableError: as :func:`plugin_type`, or as the plug-in says.
        EngineError: the artifact does not open in it, whatever it raised.
    """
    kind = plugin_type(reference)
    with blaming(reference, "open"):
        engine = kind(artifact, options)
        guard = GuardedCopyingEngine if isinstance(engine, CopyingEngine) else GuardedEngine
        return guard(reference, engine)


def _resolved(reference: str) -> object:
    try:
        return resolve(reference)
    except UsageError as error:
        raise UsageError(
            error.problem, f"{error.remedy} A module in a folder of your own is found by PYTHONPATH=FOLDER."
        ) from error
    except Exception as error:  # a plug-in may fail to load with anything
        raise EngineUnavailableError(
            f"The plug-in engine {reference!r} does not load: {type(error).__name__}: {error}",
            "Install what it needs, or repair it.",
        ) from error


def _problem(found: object) -> str | None:
    """What keeps ``found`` from being an engine; None where nothing does."""
    if not callable(found):
        return f"{found!r} cannot be called to open an artifact"
    if not callable(getattr(found, "check", None)):
        return "it has no method 'check'"
    understands = getattr(found, "understands", None)
    if not isinstance(understands, AbstractSet):
        return "it has no set 'understands' of the names of its options"
    unknown = sorted(map(str, understands - _OPTIONS))
    if unknown:
        return f"it understands {', '.join(unknown)}, and there are only {', '.join(sorted(_OPTIONS))}"
    return None

"""Which engines open on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgecnn.engines import ENGINES, EngineInfo, engine_type
from edgecnn.errors import EngineError

__all__ = ["EngineStatus", "runtime_clash", "survey"]

_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """Whether one engine opens here.

    Attributes:
        name: as in the table of engines.
        opens: whether it does.
        info: what it would use; None when it does not open.
        problem: why it does not; None when it does.
        remedy: what to do about it; likewise.
    """

    name: str
    opens: bool
    info: EngineInfo | None = None
    problem: str | None = None
    remedy: str | None = None


def survey() -> tuple[EngineStatus, ...]:
    """Load the library of every engine in the table, and ask what it would use. No model is needed."""
    return tuple(_status(name) for name in ENGINES)


def runtime_clash(versions: Mapping[str, str]) -> str | None:
    """What is wrong when both builds of ONNX Runtime are installed; None when they are not.

    They install into the same folder: the last one wins, and removing one breaks the other.

    Args:
        versions: of the installed packages, by distribution name.
    """
    installed = [f"{name} {versions[name]}" for name in _RUNTIMES if name in versions]
    if len(installed) < len(_RUNTIMES):
        return None
    return (
        f"{' and '.join(installed)} are both installed, into the same folder, so that neither is whole. "
        f"Remove both, then install one: pip uninstall -y {' '.join(_RUNTIMES)}; "
        "pip install 'edgecnn[cpu]' (or 'edgecnn[gpu]')"
    )


def _status(name: str) -> EngineStatus:
    try:
        return EngineStatus(name=name, opens=True, info=engine_type(name).check())
    except (
        EngineError
    ) as error:  # a GPU that fails while it is asked is no reason to tell nothing of the others
        return EngineStatus(name=name, opens=False, problem=error.problem, remedy=error.remedy)

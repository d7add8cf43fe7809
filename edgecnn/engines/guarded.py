"""Engines of somebody else, whose failures are told as those of our own are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from edgecnn.engines.base import Batch, CopyingEngine, Engine, EngineInfo, Scores
from edgecnn.errors import EdgecnnError, EngineError
from edgecnn.spec import ModelSpec

__all__ = ["GuardedCopyingEngine", "GuardedEngine", "blaming"]


@contextmanager
def blaming(plugin: str, step: str) -> Iterator[None]:
    """Say what ``plugin`` raised inside the ``with`` block, which lets it ``step``.

    Raises:
        EngineError: it raised an exception of its own.
        EdgecnnError: as it raised.
    """
    try:
        yield
    except EdgecnnError:
        raise
    except Exception as error:  # a plug-in may fail with anything
        raise _failure(plugin, step, error) from error


class GuardedEngine:
    """A plug-in's engine: whatever it raises is an :class:`EngineError`, and ends no other engine's run."""

    def __init__(self, plugin: str, engine: Engine) -> None:
        self._plugin, self._engine = plugin, engine
        self._spec, self._info = engine.spec, engine.info

    @property
    def spec(self) -> ModelSpec:
        """The spec of the artifact that it runs."""
        return self._spec

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self._info

    def run(self, batch: Batch) -> Scores:
        """Scores of a batch, as :meth:`edgecnn.engines.base.Engine.run` says."""
        try:  # as blaming() does, without the microsecond that a context manager would cost each call
            return self._engine.run(batch)
        except EdgecnnError:
            raise
        except Exception as error:  # a plug-in may fail with anything
            raise _failure(self._plugin, "run", error) from error

    def close(self) -> None:
        """Free everything. A second call does nothing."""
        with blaming(self._plugin, "close"):
            self._engine.close()

    def __enter__(self) -> Self:
        with blaming(self._plugin, "open"):
            self._engine.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with blaming(self._plugin, "close"):
            self._engine.__exit__(kind, error, trace)


class GuardedCopyingEngine(GuardedEngine):
    """Likewise, of one whose copies to its device can be timed apart."""

    def __init__(self, plugin: str, engine: Engine) -> None:
        super().__init__(plugin, engine)
        assert isinstance(engine, CopyingEngine)
        self._copying: CopyingEngine = engine

    def copy_only(self, batch: Batch) -> None:
        """The copies of ``run``, as :class:`edgecnn.engines.base.CopyingEngine` says."""
        with blaming(self._plugin, "copy"):
            self._copying.copy_only(batch)


def _failure(plugin: str, step: str, error: Exception) -> EngineError:
    return EngineError(
        f"The plug-in engine {plugin!r} failed to {step}: {type(error).__name__}: {error}",
        "Repair the plug-in: edgecnn.engines.base.Engine says what it may raise.",
    )

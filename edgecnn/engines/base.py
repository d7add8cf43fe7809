"""The contract between what runs a model and everything that measures or serves it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.errors import EngineError, UnknownNameError
from edgecnn.spec import ModelSpec, Precision

__all__ = [
    "Batch",
    "CopyingEngine",
    "Engine",
    "EngineInfo",
    "EngineOptions",
    "EngineType",
    "FloatPrecision",
    "Hint",
    "Scores",
    "require_fit",
    "require_understood",
]

#: (N, C, H, W) float32, or (N, H, W, C) uint8 where the spec says so.
Batch = NDArray[Any]
#: (N, classes) float32.
Scores = NDArray[np.float32]

#: What float arithmetic may be asked to run in.
FloatPrecision = Literal["fp32", "fp16", "bf16"]
Hint = Literal["latency", "throughput"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an engine is opened. None leaves an option to the engine.

    An engine understands some of them (:attr:`EngineType.understands`) and refuses to open with others.

    Attributes:
        threads: threads that the engine works with, on one call or on all its streams together; all cores
            if None.
        spin: whether idle threads of the engine wait busily: lower latency for one caller, and time
            taken from everybody else on the machine.
        arena: whether freed memory is kept for the next run.
        precision: of the arithmetic that the artifact has in float.
        hint: what the engine arranges its threads for: one call's latency, or the throughput of many.
        streams: calls that really run at the same time.
        batch: the only batch size that will be run, so that the engine can prepare for it.
        cache: whether compiled models are kept on disk for the next time.
        device: index of the GPU.
        graph: whether runs are recorded once and replayed as a whole (CUDA graphs).
    """

    threads: int | None = None
    spin: bool | None = None
    arena: bool | None = None
    precision: FloatPrecision | None = None
    hint: Hint | None = None
    streams: int | None = None
    batch: int | None = None
    cache: bool | None = None
    device: int | None = None
    graph: bool | None = None

    def given(self) -> dict[str, object]:
        """The options that are not left to the engine, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What really runs, read back from the engine after it opened.

    Attributes:
        name: as in the table of engines.
        version: of the library behind it.
        device: "cpu", or the name of the GPU.
        threads: threads that work on one call, or on all streams together where there are several.
        precision: what the arithmetic really runs in.
        providers: the parts of the library in actual use, in order; empty where it has no such notion.
        parallel_runs: whether ``run`` may be called from several threads at once.
        streams: into how many calls at the same time its threads are divided: the number of callers that
            uses it fully.
    """

    name: str
    version: str
    device: str
    threads: int
    precision: Precision
    providers: tuple[str, ...] = ()
    parallel_runs: bool = False
    streams: int = 1


class Engine(Protocol):
    """An open, ready model. There is no half-open state: making one returns it ready or raises.

    Used as a context manager it closes itself. After ``close`` every ``run`` raises ``EngineError``.
    """

    @property
    def spec(self) -> ModelSpec:
        """The spec of the artifact that it runs."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""

    def run(self, batch: Batch) -> Scores:
        """Scores of a batch.

        The result belongs to the caller: later calls do not change it. The batch may be reused as soon
        as the call returns. Calls may overlap in several threads where ``info.parallel_runs`` says so.

        Args:
            batch: of the dtype and shape of ``spec.input``, with any N of at least 1 where the batch is
                dynamic.

        Returns:
            (N, classes) float32.

        Raises:
            EngineError: the batch does not fit, the engine is closed, or the run failed.
        """

    def close(self) -> None:
        """Free everything. A second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class CopyingEngine(Protocol):
    """What an engine on another device may offer besides, so that its copies can be timed apart."""

    def copy_only(self, batch: Batch) -> None:
        """Copy ``batch`` to the device, and scores back, as ``run`` does, without running the model.

        Raises:
            EngineError: as ``run``.
        """


class EngineType(Protocol):
    """What the table of engines holds, and what a plug-in is: usually a class."""

    @property
    def understands(self) -> AbstractSet[str]:
        """The names of the :class:`EngineOptions` that it may be opened with."""

    def __call__(self, artifact: Artifact, options: EngineOptions) -> Engine:
        """Open ``artifact``.

        Raises:
            UsageError: an option that it does not understand.
            EngineUnavailableError: something that the engine needs is missing on this machine.
            EngineError: the artifact does not open in this engine.
        """

    def check(self) -> EngineInfo:
        """What the engine would use here, without a model.

        Raises:
            EngineUnavailableError: something is missing; the remedy names the command that installs it.
        """


def require_understood(engine: str, understands: AbstractSet[str], options: EngineOptions) -> None:
    """Check that the engine named ``engine`` understands what ``options`` ask of it: none is ignored.

    Raises:
        UnknownNameError: it does not understand one of them.
    """
    for name in options.given():
        if name not in understands:
            raise UnknownNameError(f"option of the engine {engine!r}", name, understands)


def require_fit(batch: Batch, spec: ModelSpec) -> None:
    """Check that ``batch`` fits ``spec.input``.

    Raises:
        EngineError: wrong dtype, number of dimensions, size, or an empty batch.
    """
    wanted = spec.input
    # Runtimes read the bytes as they lie: an array in the other byte order would pass for nonsense.
    typed = batch.dtype.name == wanted.dtype and batch.dtype.isnative
    fits = typed and batch.ndim == len(wanted.shape) and len(batch) > 0
    sizes = zip(batch.shape, wanted.shape, strict=False)
    if not fits or any(isinstance(want, int) and want != have for have, want in sizes):
        raise EngineError(
            f"The batch is {batch.dtype}{list(batch.shape)}, and the model {spec.network!r} takes "
            f"{wanted.dtype}{list(wanted.shape)}.",
            "Prepare the images with the model's own spec (edgecnn.preprocess), "
            "or export with --batch dynamic to run other batch sizes.",
        )

"""What open engines have in common: checks before and after the run, and closing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.engines.base import Batch, EngineInfo, Scores, require_fit
from edgecnn.errors import EngineError
from edgecnn.spec import ModelSpec

__all__ = ["Infer", "OpenEngine", "as_scores", "closed_failure", "fixed_spec"]

#: Takes a batch that fits, and returns a new array: N scores per class, of any float dtype and shape.
Infer = Callable[[Batch], NDArray[Any]]


class OpenEngine:
    """An engine made of one function; the base of those in the table.

    ``infer`` alone holds the library's objects: closing drops it, and a run that is under way in another
    thread keeps it alive until it ends.
    """

    def __init__(self, spec: ModelSpec, info: EngineInfo, infer: Infer) -> None:
        self._spec = spec
        self._info = info
        self._infer: Infer | None = infer
        self._fitted: tuple[object, object] | None = None

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
        infer = self._infer
        if infer is None:
            raise closed_failure(self.info)
        form = (batch.shape, batch.dtype)
        if form != self._fitted:  # in a row of equal batches the check would be most of Python's share
            require_fit(batch, self._spec)
            self._fitted = form
        return as_scores(infer(batch), len(batch), self._spec)

    def close(self) -> None:
        """Free everything. A second call does nothing."""
        self._infer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def closed_failure(info: EngineInfo) -> EngineError:
    """What a closed engine answers."""
    return EngineError(f"The engine {info.name!r} is closed.", "Open the artifact again.")


def as_scores(output: NDArray[Any], images: int, spec: ModelSpec) -> Scores:
    """The model's output as (images, classes) float32; trailing dimensions of 1 are dropped.

    Raises:
        EngineError: it does not hold one number per image and class.
    """
    classes = len(spec.classes)
    if output.shape == (images, classes) and output.dtype == np.float32:
        return output
    if output.shape[:1] != (images,) or output.size != images * classes:
        raise EngineError(
            f"The model {spec.network!r} answered {list(output.shape)} to {images} images, "
            f"and its spec names {classes} classes.",
            "Give a spec whose classes are those of the model's output (--spec).",
        )
    return output.reshape(images, classes).astype(np.float32, copy=False)


def fixed_spec(artifact: Artifact, batch: int | None) -> ModelSpec:
    """The spec of ``artifact`` run with no other batch size than ``batch``; its own for None.

    Raises:
        EngineError: the artifact is fixed to another size.
    """
    spec, own = artifact.spec, artifact.spec.input.shape[0]
    if batch is None or own == batch:
        return spec
    if isinstance(own, int):
        raise EngineError(
            f"{artifact.path} is fixed to a batch of {own}, and {batch} is asked for.",
            "Export the model again with --batch dynamic.",
        )
    return replace(spec, input=replace(spec.input, shape=(batch, *spec.input.shape[1:])))

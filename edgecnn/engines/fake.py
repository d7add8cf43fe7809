"""An engine without a model, for tests of what drives engines. No result is ever reported from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.engines.base import Batch, EngineInfo
from edgecnn.engines.opened import OpenEngine
from edgecnn.errors import EngineError
from edgecnn.spec import ModelSpec

__all__ = ["FakeEngine", "pixel_sums"]


class FakeEngine(OpenEngine):
    """Keeps the whole contract of an engine; what it answers, how fast, and when it fails is given.

    Attributes:
        calls: the batch size of every run so far, failed ones included.
    """

    def __init__(
        self,
        spec: ModelSpec,
        scores: Callable[[Batch], NDArray[Any]] | None = None,
        *,
        latency_s: Callable[[int], float] = lambda images: 0.0,
        failing: Container[int] = (),
        parallel_runs: bool = True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make an engine for models of ``spec``.

        Args:
            spec: what it pretends to run.
            scores: batch to (N, classes); may raise. :func:`pixel_sums` if None.
            latency_s: seconds that a run takes, from its batch size.
            failing: the runs, counted from 0, that raise EngineError.
            parallel_runs: what its info says of overlapping runs.
            sleep: how time passes.
        """
        self.calls: list[int] = []
        self._numbers = count()
        self._scores = scores or (lambda batch: pixel_sums(batch, len(spec.classes)))
        self._latency_s = latency_s
        self._failing = failing
        self._sleep = sleep
        info = EngineInfo(
            name="fake",
            version="1",
            device="cpu",
            threads=1,
            precision=spec.precision,
            parallel_runs=parallel_runs,
        )
        super().__init__(spec, info, self._answer)

    def _answer(self, batch: Batch) -> NDArray[Any]:
        call = next(self._numbers)
        self.calls.append(len(batch))
        self._sleep(self._latency_s(len(batch)))
        if call in self._failing:
            raise EngineError(f"Run {call} fails, as the test wants.", "Nothing to do.")
        return self._scores(batch)


def pixel_sums(batch: Batch, classes: int) -> NDArray[np.float32]:
    """(N, classes): class k gets the sum of the pixels k, k + classes, k + 2 classes, ... of its image."""
    pixels = batch.reshape(len(batch), -1)
    columns = np.arange(pixels.shape[1]) % classes
    sums = [np.bincount(columns, weights=image, minlength=classes) for image in pixels]
    return np.stack(sums).astype(np.float32)

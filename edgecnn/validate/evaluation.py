"""What one pass over labelled images takes and yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.errors import UsageError
from edgecnn.reports.result import BadImage

__all__ = ["Difference", "Evaluation", "PassSettings", "Predictions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSettings:
    """How a pass goes.

    Attributes:
        batch: images that a worker decodes and runs at a time.
        workers: how many decode and run side by side: one for each core.
    """

    batch: int
    workers: int

    def __post_init__(self) -> None:
        if self.batch < 1 or self.workers < 1:
            raise UsageError(
                f"A batch of {self.batch} and {self.workers} threads make no pass.", "Give numbers from 1."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far scores are from the reference's, summed over all images and classes.

    Attributes:
        signal: sum of squares of the reference's scores.
        noise: sum of squares of the differences.
        max_abs: largest absolute difference.
    """

    signal: float = 0.0
    noise: float = 0.0
    max_abs: float = 0.0

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            signal=self.signal + other.signal,
            noise=self.noise + other.noise,
            max_abs=max(self.max_abs, other.max_abs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What one engine chose.

    Attributes:
        choices: (n, at most 5) int64, class indices, best first; of equal scores the lower index is first.
        tied: images whose highest score several classes have.
        run_s: seconds inside the engine's runs, added up over all workers.
        difference: to the reference's scores; None without a reference, for the reference itself, and when
            one holds logits and the other probabilities.
    """

    choices: NDArray[np.int64]
    tied: int
    run_s: float
    difference: Difference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One pass over labelled images.

    Attributes:
        images: (n,) int64, the indices in the source of the images that count.
        labels: (n,) int64, their class indices.
        bad: the images that could not be used.
        predictions: one for each engine, in the order given.
        wall_s: how long the pass took.
    """

    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    bad: tuple[BadImage, ...]
    predictions: tuple[Predictions, ...]
    wall_s: float

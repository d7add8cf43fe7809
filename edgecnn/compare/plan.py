"""What to compare, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edgecnn.artifact import Artifact
from edgecnn.data import LabelledImages
from edgecnn.engines.choice import EngineChoice
from edgecnn.errors import UsageError

__all__ = ["PRECISIONS", "ComparePlan", "ComparedPrecision", "Subject"]

ComparedPrecision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[ComparedPrecision, ...] = get_args(ComparedPrecision)


@dataclass(frozen=True, slots=True)
class Subject:
    """One network with its weights.

    Attributes:
        name: for messages.
        artifact: in float32; None where it could not be exported.
        error: why not.
    """

    name: str
    artifact: Artifact | None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePlan:
    """The matrix.

    Attributes:
        subjects: the networks.
        engines: what runs them.
        precisions: of the arithmetic.
        folder: for artifacts and for what was measured so far; what is there is used again.
        data: to measure accuracy on; None to leave it out.
        calibration: to quantise by; None where no precision needs it.
        images: at most so many of them.
        classes: table from WordNet ids to class indices; None to find it by itself.
        max_drop: top-1 that quantisation may lose, in percentage points.
        batch: images per call of the benchmark.
        threads: of one call; None for all cores.
        duration_s: seconds of measuring for each variant.
        memory: whether to measure memory.
        fresh: whether to measure again what was measured before.

    Raises:
        UsageError: values that make no sense, or not together.
    """

    subjects: tuple[Subject, ...]
    engines: tuple[EngineChoice, ...]
    precisions: tuple[ComparedPrecision, ...]
    folder: Path
    data: LabelledImages | None = None
    calibration: LabelledImages | None = None
    images: int | None = None
    classes: Path | None = None
    max_drop: float = 0.5
    batch: int = 1
    threads: int | None = None
    duration_s: float = 3.0
    memory: bool = True
    fresh: bool = False

    def __post_init__(self) -> None:
        if "int8" in self.precisions and self.calibration is None:
            raise UsageError(
                "Precision int8 needs images to see the activations' ranges.",
                "Pass --calib DATA: some hundred images like those that the model will get; "
                "or leave int8 out of --precision.",
            )
        if not (math.isfinite(self.duration_s) and self.duration_s > 0):
            raise UsageError(f"--duration is {self.duration_s:g}.", "Give --duration a number above zero.")
        if self.data is not None and not len(self.data):
            raise UsageError(f"{self.data.name} has no images.", "Give --data a set with images.")
        both = [choice.text for choice in self.engines if choice.options.threads is not None]
        if self.threads is not None and both:
            raise UsageError(
                f"--threads and the options of --engine {both[0]} both say how many threads.",
                "Keep one of them.",
            )

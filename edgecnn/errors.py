"""The whole error tree. Each error says what was wrong and what to do next, and has an exit code.

EdgecnnError (1)
├── UsageError (2)              the command line or a value in it is wrong
│   └── UnknownNameError        a name that no table holds; carries the nearest ones
├── GateError (3)               everything ran, and a stated limit did not hold
├── DependencyMissingError      an optional package is needed; carries the command that installs it
├── ArtifactError               a model file cannot be read, written or trusted
│   └── SpecMissingError        a foreign model file that says nothing of its own preprocessing
├── WeightsError                weights cannot be had or do not fit
├── ExportError                 the exporter failed, or its result is not equal to PyTorch
├── DataError                   labelled data cannot be read or mapped to the model's classes
│   ├── EmptyDataError (2)      what was given as data holds no labelled image
│   └── ImageError              one image file cannot be used
├── QuantizationError           a model or its calibration data do not allow quantising it
├── ResultError                 a file of measurements cannot be read or written
├── TrainingError               training cannot start or go on
└── EngineError                 an engine failed while running
    └── EngineUnavailableError  an engine cannot open on this machine
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar

__all__ = [
    "ArtifactError",
    "DataError",
    "DependencyMissingError",
    "EdgecnnError",
    "EmptyDataError",
    "EngineError",
    "EngineUnavailableError",
    "ExportError",
    "GateError",
    "ImageError",
    "QuantizationError",
    "ResultError",
    "SpecMissingError",
    "TrainingError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
]


class EdgecnnError(Exception):
    """What every error of this project is: a problem and its remedy.

    Attributes:
        problem: what was wrong, with the value that was wrong.
        remedy: what to do next; one or more sentences, never empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n{self.remedy}"


class UsageError(EdgecnnError):
    """The command line, or a value given in it, is wrong."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that no table holds.

    Attributes:
        nearest: at most five known names that look like it, best first.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, listing: str = "") -> None:
        names = sorted(known)
        self.nearest = tuple(get_close_matches(name.lower(), names, n=5, cutoff=0.6))
        if self.nearest:
            remedy = f"Did you mean {' or '.join(self.nearest)}?"
        else:
            remedy = f"Known: {', '.join(names)}." if not listing else ""
        super().__init__(f"There is no {kind} named {name!r}.", f"{remedy} {listing}".strip())


class GateError(EdgecnnError):
    """Everything ran, and a limit that the user stated did not hold."""

    exit_code = 3


class DependencyMissingError(EdgecnnError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed.",
            f"Install it: pip install 'edgecnn[{extra}]'",
        )
        self.package = package
        self.extra = extra


class ArtifactError(EdgecnnError):
    """A model file cannot be read, written or trusted."""


class SpecMissingError(ArtifactError):
    """A model file made elsewhere, which says nothing of its preprocessing and classes."""


class WeightsError(EdgecnnError):
    """Weights cannot be had, are not safe to load, or do not fit the network."""


class ExportError(EdgecnnError):
    """The exporter failed, or what it wrote does not answer as PyTorch does."""


class DataError(EdgecnnError):
    """Labelled data cannot be read, or cannot be mapped to the classes of the model."""


class EmptyDataError(DataError):
    """What was given as data holds no labelled image: most likely the wrong place was named."""

    exit_code = 2


class ImageError(DataError):
    """One image cannot be used.

    Attributes:
        image: the path or name of the image.
        reason: what is wrong with it, without the name.
    """

    def __init__(self, image: str, reason: str, remedy: str = "Replace or remove the file.") -> None:
        super().__init__(f"{image}: {reason}", remedy)
        self.image = image
        self.reason = reason


class QuantizationError(EdgecnnError):
    """A model cannot be quantised as asked, or its calibration data do not allow it."""


class ResultError(EdgecnnError):
    """A file of measurements cannot be read or written."""


class TrainingError(EdgecnnError):
    """Training cannot start, resume or go on."""


class EngineError(EdgecnnError):
    """An engine failed while it ran, or was given an input that does not fit."""


class EngineUnavailableError(EngineError):
    """An engine cannot open on this machine; the remedy names the missing piece."""

"""A small engine whose answers are known, and images that say what they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.arrays import ArrayImages
from edgecnn.engines.base import Batch, EngineInfo, Scores, require_fit
from edgecnn.errors import ImageError
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

CLASSES = 10


def reading_spec(batch: int | str = "batch", **changes: Any) -> ModelSpec:
    """The spec of a model that takes pixels (N, 4, 4, 3) uint8 and has 10 classes."""
    fields: dict[str, Any] = {
        "network": "reader",
        "classes": tuple(f"class {index}" for index in range(CLASSES)),
        "input": TensorSpec(name="input", dtype="uint8", shape=(batch, 4, 4, 3)),
        "output": TensorSpec(name="output", dtype="float32", shape=(batch, CLASSES)),
        "preprocess": Preprocess(resize=None, crop=(4, 4), in_graph=True),
        "weights": WeightsId(kind="unknown", name="none"),
    }
    return ModelSpec(**(fields | changes))


def read_off(batch: Batch) -> Scores:
    """Scores that are highest for the class whose index the first pixel states, then for its neighbours."""
    stated = batch[:, 0, 0, :1].astype(np.float32)
    scores: Scores = -np.abs(np.arange(CLASSES, dtype=np.float32) - stated)
    return scores


@dataclass
class ReadingEngine:
    """An engine that answers what the images say, unless ``answer`` says otherwise."""

    spec: ModelSpec = field(default_factory=reading_spec)
    answer: Callable[[Batch], Scores] = read_off
    parallel: bool = True
    seconds: float = 0.0
    batches: list[int] = field(default_factory=list)
    inside: int = 0
    most_inside: int = 0
    closed: bool = False
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(
            name="reading",
            version="1",
            device="cpu",
            threads=1,
            precision="fp32",
            parallel_runs=self.parallel,
        )

    def run(self, batch: Batch) -> Scores:
        require_fit(batch, self.spec)
        with self.guard:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            self.batches.append(len(batch))
        time.sleep(self.seconds)
        with self.guard:
            self.inside -= 1
        return self.answer(batch)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class PartlyBroken(ArrayImages):
    """Images of which some cannot be decoded."""

    broken: frozenset[int] = frozenset()
    decoded: list[int] = field(default_factory=list)

    def image(self, index: int) -> Image.Image:
        self.decoded.append(index)
        if index in self.broken:
            raise ImageError(self.key(index), "it is damaged")
        return Image.fromarray(self.pixels[index])


def stating(
    stated: list[int], labels: list[int] | None = None, broken: set[int] | None = None
) -> PartlyBroken:
    """Images that state the classes ``stated``, labelled so, or with ``labels``."""
    pixels = np.zeros((len(stated), 4, 4, 3), np.uint8)
    pixels[:, 0, 0, 0] = stated
    classes = tuple(f"class {index}" for index in range(CLASSES))
    truth = np.array(stated if labels is None else labels, np.int64)
    return PartlyBroken("stated", Path(), classes, truth, pixels, frozenset(broken or ()))


@pytest.fixture
def engine() -> type[ReadingEngine]:
    return ReadingEngine


@pytest.fixture
def images() -> Callable[..., PartlyBroken]:
    return stating


@pytest.fixture
def model() -> Callable[..., ModelSpec]:
    return reading_spec

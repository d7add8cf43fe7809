"""A small engine whose answers are known, and images that say what they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.arrays import ArrayImages
from edgecnn.engines.base import Batch, Scores
from edgecnn.engines.fake import FakeEngine
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


class ReadingEngine(FakeEngine):
    """An engine that answers what the images say, unless ``answer`` says otherwise."""

    def __init__(
        self,
        spec: ModelSpec | None = None,
        answer: Callable[[Batch], Scores] = read_off,
        *,
        parallel: bool = True,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(
            spec or reading_spec(), answer, latency_s=lambda images: seconds, parallel_runs=parallel
        )
        self.answer = answer
        self.inside = self.most_inside = 0
        self._guard = threading.Lock()

    def run(self, batch: Batch) -> Scores:
        with self._guard:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        try:
            return super().run(batch)
        finally:
            with self._guard:
                self.inside -= 1


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

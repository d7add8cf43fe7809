"""The fake engine does what a test tells it to."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.engines.fake import FakeEngine, pixel_sums
from edgecnn.errors import EngineError
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

SPEC = ModelSpec(
    network="fake",
    classes=("a", "b"),
    input=TensorSpec(name="x", dtype="uint8", shape=("batch", 1, 2, 3)),
    output=TensorSpec(name="y", dtype="float32", shape=("batch", 2)),
    preprocess=Preprocess(resize=None, crop=(1, 2), in_graph=True),
    weights=WeightsId(kind="unknown", name="none"),
)
BATCH = np.arange(12, dtype=np.uint8).reshape(2, 1, 2, 3)


def test_scores_are_sums_of_pixels_unless_given() -> None:
    assert FakeEngine(SPEC).run(BATCH).tolist() == [[0 + 2 + 4, 1 + 3 + 5], [6 + 8 + 10, 7 + 9 + 11]]
    doubled = FakeEngine(SPEC, lambda batch: 2 * pixel_sums(batch, 2))
    assert doubled.run(BATCH).tolist() == [[12, 18], [48, 54]]


def test_an_image_gets_the_same_scores_in_any_batch() -> None:
    engine = FakeEngine(SPEC)
    assert np.array_equal(engine.run(BATCH)[1:], engine.run(BATCH[1:]))


def test_a_run_takes_the_time_of_its_batch_size() -> None:
    slept: list[float] = []
    engine = FakeEngine(SPEC, latency_s=lambda images: 0.5 + images, sleep=slept.append)
    engine.run(BATCH)
    engine.run(BATCH[:1])
    assert slept == [2.5, 1.5]


def test_chosen_runs_fail_and_all_are_counted() -> None:
    engine = FakeEngine(SPEC, failing={1}, parallel_runs=False)
    engine.run(BATCH)
    with pytest.raises(EngineError, match="Run 1 fails"):
        engine.run(BATCH[:1])
    engine.run(BATCH)
    assert engine.calls == [2, 1, 2]
    assert not engine.info.parallel_runs


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(EngineError, match=r"answered \[2, 3\] to 2 images, and its spec names 2 classes"):
        FakeEngine(SPEC, lambda batch: pixel_sums(batch, 3)).run(BATCH)

"""Calibration images: one half sets ranges, the other judges, and memory has a bound."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.data import select
from edgecnn.data.arrays import ArrayImages
from edgecnn.quantize.images import CalibrationImages
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

SPEC = ModelSpec(
    network="none",
    classes=("one", "two"),
    input=TensorSpec(name="x", dtype="float32", shape=("batch", 3, 4, 4)),
    output=TensorSpec(name="y", dtype="float32", shape=("batch", 2)),
    preprocess=Preprocess(resize=None, crop=(4, 4), divisor=1.0, mean=(0.0,) * 3, std=(1.0,) * 3),
    weights=WeightsId(kind="unknown", name="none"),
)


def images(count: int, threads: int = 1) -> CalibrationImages:
    """The red of image i is i % 256, its green i // 256."""
    pixels = np.zeros((count, 4, 4, 3), np.uint8)
    pixels[..., 0] = (np.arange(count) % 256)[:, None, None]
    pixels[..., 1] = (np.arange(count) // 256)[:, None, None]
    labels = (np.arange(count) % 2).astype(np.int64)
    source = ArrayImages("numbered", None, ("one", "two"), labels, pixels)
    return CalibrationImages(source, labels, SPEC, threads)


def numbers(batch: NDArray[np.float32]) -> list[int]:
    return [int(image[0, 0, 0] + 256 * image[1, 0, 0]) for image in batch]


@pytest.mark.parametrize("count", [2, 3, 7, 255, 256, 257, 1000])
def test_no_image_judges_that_set_a_range(count: int) -> None:
    made = images(count)
    assert not set(made.ranging.tolist()) & set(made.judging.tolist())
    assert len(made.ranging) == (count + 1) // 2
    assert len(made.judging) == min(count // 2, 256)
    assert len(made.judging) > 0


@pytest.mark.parametrize("count", [5, 600])
def test_everything_is_in_the_order_of_the_source(count: int) -> None:
    made = images(count)
    for indices in (made.ranging, made.judging):
        assert np.array_equal(indices, np.sort(indices))
    assert [number for batch in made.batches() for number in numbers(batch)] == made.ranging.tolist()
    assert numbers(made.held_out()) == made.judging.tolist()


@pytest.mark.parametrize("threads", [1, 3])
def test_images_that_set_ranges_stream_a_few_at_a_time(threads: int) -> None:
    sizes = [len(batch) for batch in images(21, threads).batches()]
    assert sizes == [4, 4, 3]


def test_what_is_held_in_memory_does_not_grow_with_the_source() -> None:
    made = images(1000)
    assert len(made.held_out()) == 256
    tuning = numbers(made.tuning())
    assert len(tuning) == 24
    assert set(tuning) < set(made.ranging.tolist())


@pytest.mark.parametrize(
    ("count", "limit", "size", "expected"),
    [
        (1000, 5, 1, [[0], [200], [400], [600], [800]]),
        (6, 300, 1, [[0], [2], [4]]),
        (12, 300, 4, [[0, 2, 4, 6], [8, 10, 0, 2]]),
        (4, 300, 8, [[0, 2, 0, 2, 0, 2, 0, 2]]),
    ],
)
def test_a_bounded_number_is_spread_over_the_source_in_full_pieces(
    count: int, limit: int, size: int, expected: list[list[int]]
) -> None:
    assert [numbers(piece) for piece in images(count).spaced(limit, size)] == expected


def test_the_judges_are_spread_over_all_of_the_source() -> None:
    judging = images(1000).judging
    assert judging[0] == 1
    assert judging[-1] > 980
    assert np.diff(judging).max() <= 8


def test_images_are_prepared_as_the_model_takes_them() -> None:
    held = images(10).held_out()
    assert held.shape == (5, 3, 4, 4)
    assert held.dtype == np.float32


def test_the_fingerprint_is_that_of_what_sets_ranges() -> None:
    first = images(10)
    assert first.fingerprint() == images(10).fingerprint() == images(9).fingerprint()
    assert first.fingerprint() != images(12).fingerprint()
    turned = select(first.source, np.arange(10)[::-1].copy(), "turned")
    assert CalibrationImages(turned, first.labels, SPEC, 1).fingerprint() != first.fingerprint()

"""When a quantised model is good enough."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.quantize.goal import MIN_AGREEMENT, Drop, Goal, drop_between

Array = NDArray[np.float32]


def scores(choices: list[int]) -> Array:
    return np.eye(4, dtype=np.float32)[choices]


def drop(n: int, *, gained: int = 0, lost: int = 0) -> Drop:
    return Drop(n=n, gained=gained, lost=lost)


def test_images_are_counted_one_by_one() -> None:
    labels = np.array([0, 1, 2, 3, 0, 1])
    found = drop_between(scores([0, 1, 2, 0, 1, 1]), scores([0, 1, 3, 3, 2, 0]), labels)
    # kept, kept, lost, gained, wrong both times but otherwise, lost
    assert (found.n, found.gained, found.lost) == (6, 1, 2)
    assert found.points == pytest.approx(100 / 6)


def test_more_right_than_before_is_a_negative_drop() -> None:
    found = drop_between(scores([1, 1]), scores([0, 1]), np.array([0, 1]))
    assert found.points == -50.0


def test_the_interval_is_in_points_and_around_them() -> None:
    found = drop(1000, gained=10, lost=40)
    low, high = found.ci95
    assert low < found.points == 3.0 < high
    # Plain Wald: 1.96 * sqrt(50 - 900 / 1000) / 1000, 1.37 points; the adjusted one is near it for n = 1000.
    assert high - low == pytest.approx(2 * 1.37, abs=0.1)


def test_nothing_changed_meets_every_goal() -> None:
    assert Goal(0.0).met(drop(2), 100.0)
    assert Goal(0.0).met(drop(1000), 100.0)


@pytest.mark.parametrize(
    ("lost", "max_drop", "met"),
    # Of 1000 images, 30 lost: the interval begins at about 1.9 points.
    [(30, 0.5, False), (30, 3.0, True), (30, 2.0, True), (5, 0.5, True)],
)
def test_a_drop_counts_if_the_images_can_tell(lost: int, max_drop: float, met: bool) -> None:
    assert Goal(max_drop).met(drop(1000, lost=lost), 100.0) is met


@pytest.mark.parametrize(("agreement", "met"), [(MIN_AGREEMENT, True), (96.9, False)])
def test_too_many_changed_choices_are_not_met(agreement: float, met: bool) -> None:
    assert Goal(100.0).met(drop(10_000), agreement) is met


def test_few_images_that_differ_much_are_not_enough() -> None:
    assert not Goal(0.5).met(drop(32, lost=12), 60.0)

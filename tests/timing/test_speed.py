"""Comparing speeds: by a clock that only the two runs move, so that every figure is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from edgecnn.timing.fake import FakeTime
from edgecnn.timing.speed import SpeedRatio, compare_speed


def constant(seconds: float) -> Callable[[int], float]:
    return lambda _: seconds


def compare(
    time: FakeTime, a: Callable[[int], float], b: Callable[[int], float], seconds: float
) -> SpeedRatio:
    return compare_speed(time.runner("a", a), time.runner("b", b), seconds=seconds, clock=time.clock)


def test_times_and_ratio() -> None:
    found = compare(FakeTime(), constant(0.006), constant(0.002), 1.0)
    assert found.reference_ms == pytest.approx(6.0)
    assert found.ms == pytest.approx(2.0)
    assert found.ratio == pytest.approx(3.0)
    assert found.spread == pytest.approx((3.0, 3.0))


def test_both_take_turns_for_about_as_long() -> None:
    time = FakeTime()
    compare(time, constant(0.01), constant(0.002), 0.0)
    # Warm-up, and one run to see how long it takes; then 25 rounds of 10 ms each.
    assert time.order[:4] == ["a", "a", "b", "b"]
    rounds = [time.order[at : at + 6] for at in range(4, len(time.order), 6)]
    assert [Counter(each) for each in rounds] == [Counter(a=1, b=5)] * 25


def test_neither_is_always_first() -> None:
    time = FakeTime()
    compare(time, constant(0.01), constant(0.01), 0.0)
    firsts = Counter(time.order[4::2])
    assert abs(firsts["a"] - firsts["b"]) <= 1


def test_it_goes_on_for_as_long_as_asked() -> None:
    time = FakeTime()
    compare(time, constant(0.01), constant(0.01), 2.0)
    assert time.now_ns == pytest.approx(2.04e9, abs=0.03e9)


def test_more_rounds_than_400_add_nothing() -> None:
    time = FakeTime()
    compare(time, constant(0.01), constant(0.01), 1e6)
    assert len(time.order) == 2 * 402


def test_a_mood_of_the_machine_hits_both() -> None:
    """From the tenth round on, everything takes three times as long."""

    def moody(seconds: float) -> Callable[[int], float]:
        return lambda count: seconds * (3 if count > 10 else 1)

    found = compare(FakeTime(), moody(0.02), moody(0.01), 0.0)
    assert found.ratio == pytest.approx(2.0)
    assert found.spread == pytest.approx((2.0, 2.0))


def test_single_outliers_do_not_move_the_median() -> None:
    found = compare(FakeTime(), constant(0.02), lambda count: 1.0 if count % 5 == 4 else 0.01, 0.0)
    assert found.ms == pytest.approx(10.0)
    assert found.ratio == pytest.approx(2.0)
    assert found.spread[0] < 0.1 < found.spread[1]

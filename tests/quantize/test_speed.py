"""Comparing speeds: by a clock that only the two runs move, so that every figure is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from edgecnn.quantize import speed
from edgecnn.quantize.speed import compare_speed


@dataclass
class Clock:
    """Time passes only while something runs."""

    now: float = 0.0
    order: list[str] = field(default_factory=list)

    def runner(self, name: str, seconds: Callable[[int], float]) -> Callable[[], None]:
        """Takes ``seconds(i)`` for its i-th run."""
        count = 0

        def run() -> None:
            nonlocal count
            self.now += seconds(count)
            count += 1
            self.order.append(name)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(speed, "perf_counter", lambda: clock.now)
    return clock


def constant(seconds: float) -> Callable[[int], float]:
    return lambda _: seconds


def test_times_and_ratio(clock: Clock) -> None:
    found = compare_speed(clock.runner("a", constant(0.006)), clock.runner("b", constant(0.002)), seconds=1.0)
    assert found.reference_ms == pytest.approx(6.0)
    assert found.ms == pytest.approx(2.0)
    assert found.ratio == pytest.approx(3.0)
    assert found.spread == pytest.approx((3.0, 3.0))


def test_both_take_turns_for_about_as_long(clock: Clock) -> None:
    compare_speed(clock.runner("a", constant(0.01)), clock.runner("b", constant(0.002)), seconds=0.0)
    # Warm-up, and one run to see how long it takes; then 25 rounds of 10 ms each.
    assert clock.order[:4] == ["a", "a", "b", "b"]
    assert clock.order[4:] == ["a", *["b"] * 5] * 25


def test_it_goes_on_for_as_long_as_asked(clock: Clock) -> None:
    compare_speed(clock.runner("a", constant(0.01)), clock.runner("b", constant(0.01)), seconds=2.0)
    assert clock.now == pytest.approx(2.04, abs=0.03)


def test_more_rounds_than_400_add_nothing(clock: Clock) -> None:
    compare_speed(clock.runner("a", constant(0.01)), clock.runner("b", constant(0.01)), seconds=1e6)
    assert len(clock.order) == 2 * 402


def test_a_mood_of_the_machine_hits_both(clock: Clock) -> None:
    """From the tenth round on, everything takes three times as long."""

    def moody(seconds: float) -> Callable[[int], float]:
        return lambda count: seconds * (3 if count > 10 else 1)

    found = compare_speed(clock.runner("a", moody(0.02)), clock.runner("b", moody(0.01)), seconds=0.0)
    assert found.ratio == pytest.approx(2.0)
    assert found.spread == pytest.approx((2.0, 2.0))


def test_single_outliers_do_not_move_the_median(clock: Clock) -> None:
    found = compare_speed(
        clock.runner("a", constant(0.02)),
        clock.runner("b", lambda count: 1.0 if count % 5 == 4 else 0.01),
        seconds=0.0,
    )
    assert found.ms == pytest.approx(10.0)
    assert found.ratio == pytest.approx(2.0)
    assert found.spread[0] < 0.1 < found.spread[1]

"""Comparing speeds: by a clock that only the two runs move, so that every figure is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from edgecnn.timing.fake import FakeTime
from edgecnn.timing.speed import SpeedRatio, SpeedVerdict, compare_speed, speed_verdict


def constant(seconds: float) -> Callable[[int], float]:
    return lambda _: seconds


def compare(
    time: FakeTime,
    a: Callable[[int], float],
    b: Callable[[int], float],
    seconds: float,
    tell_from: float | None = None,
) -> SpeedRatio:
    runs = time.runner("a", a), time.runner("b", b)
    return compare_speed(*runs, seconds=seconds, tell_from=tell_from, clock=time.clock)


def test_times_and_ratio() -> None:
    found = compare(FakeTime(), constant(0.006), constant(0.002), 1.0)
    assert found.reference_ms == pytest.approx(6.0)
    assert found.ms == pytest.approx(2.0)
    assert found.ratio == pytest.approx(3.0)
    assert found.ci95 == found.spread == pytest.approx((3.0, 3.0))


def test_both_take_turns_for_about_as_long() -> None:
    time = FakeTime()
    compare(time, constant(0.005), constant(0.002), 0.0)
    # One run to warm up, and three to see how long it takes; then nine rounds of 20 ms each.
    assert time.order[:8] == [*"aaaabbbb"]
    rounds = [time.order[at : at + 14] for at in range(8, len(time.order), 14)]
    assert [Counter(each) for each in rounds] == [Counter(a=4, b=10)] * 9


def test_a_round_is_never_of_a_single_call() -> None:
    time = FakeTime()
    compare(time, constant(0.5), constant(0.3), 0.0)
    assert Counter(time.order[8:14]) == Counter(a=3, b=3)
    assert len(time.order) == 2 * (4 + 9 * 3)


def test_one_interrupted_call_does_not_make_rounds_short() -> None:
    """The first timed call of either takes two hundred times as long as the others."""
    time = FakeTime()
    slow_first: Callable[[int], float] = lambda count: 0.4 if count == 1 else 0.002  # noqa: E731
    compare(time, slow_first, slow_first, 0.0)
    assert len(time.order) == 2 * (4 + 9 * 10)


def test_neither_is_always_first() -> None:
    time = FakeTime()
    compare(time, constant(0.01), constant(0.01), 1.0)
    firsts = Counter(time.order[8::6])
    assert abs(firsts["a"] - firsts["b"]) <= 1


def test_it_goes_on_for_as_long_as_asked() -> None:
    time = FakeTime()
    compare(time, constant(0.01), constant(0.01), 2.0)
    assert time.now_ns == pytest.approx(2.08e9, abs=0.07e9)


def test_more_rounds_than_400_add_nothing() -> None:
    time = FakeTime()
    compare(time, constant(0.01), constant(0.01), 1e6)
    assert len(time.order) == 2 * (4 + 400 * 3)


def noisy(seconds: float, seed: int) -> Callable[[int], float]:
    """Times that vary by a third, each slice of three calls alike."""
    factors = np.random.default_rng(seed).uniform(0.7, 1.3, 10_000)
    return lambda count: seconds * float(factors[(count + 2) // 3])


def test_what_the_interval_does_not_tell_is_measured_for_longer_but_not_for_ever() -> None:
    once, thrice = FakeTime(), FakeTime()
    runs = noisy(0.02, 1), noisy(0.02, 2)
    short = compare(once, *runs, 2.0)
    long = compare(thrice, *runs, 2.0, tell_from=1.0)
    assert long.ci95[0] <= 1 <= long.ci95[1]
    assert thrice.now_ns == pytest.approx(3 * once.now_ns, rel=0.1)
    assert long.ci95[1] - long.ci95[0] < short.ci95[1] - short.ci95[0]


def test_it_is_measured_on_only_until_it_can_be_told() -> None:
    """Slower by a fifth: nine noisy rounds do not show it, twice as many do."""
    once, more = FakeTime(), FakeTime()
    runs = noisy(0.02, 21), noisy(0.024, 121)
    short = compare(once, *runs, 0.0)
    assert short.ci95[0] < 1 < short.ci95[1]
    found = compare(more, *runs, 0.0, tell_from=1.0)
    assert speed_verdict(found.ci95) == "not faster"
    assert more.now_ns == pytest.approx(2 * once.now_ns, rel=0.1)


def test_what_is_clear_takes_no_longer() -> None:
    plain, asked = FakeTime(), FakeTime()
    compare(plain, constant(0.02), constant(0.01), 1.0)
    compare(asked, constant(0.02), constant(0.01), 1.0, tell_from=1.0)
    assert asked.now_ns == plain.now_ns


@pytest.mark.parametrize(
    ("ci95", "verdict"),
    [
        ((1.01, 3.0), "faster"),
        ((0.2, 0.99), "not faster"),
        ((0.99, 1.01), "not faster"),
        ((1.005, 1.015), "not faster"),
        ((0.21, 13.27), "unclear"),
        ((1.0, 1.2), "unclear"),
        ((0.8, 1.03), "unclear"),
    ],
)
def test_the_verdict_is_told_by_the_interval_alone(ci95: tuple[float, float], verdict: SpeedVerdict) -> None:
    assert speed_verdict(ci95) == verdict


def test_a_mood_of_the_machine_hits_both() -> None:
    """From the tenth call on, everything takes three times as long."""

    def moody(seconds: float) -> Callable[[int], float]:
        return lambda count: seconds * (3 if count > 9 else 1)

    found = compare(FakeTime(), moody(0.02), moody(0.01), 0.0)
    assert found.ratio == pytest.approx(2.0)
    assert found.ci95 == pytest.approx((2.0, 2.0))


def test_single_outliers_move_nothing() -> None:
    """Every fifth call takes a hundred times as long: a round of three holds at most one."""
    found = compare(FakeTime(), constant(0.02), lambda count: 1.0 if count % 5 == 4 else 0.01, 0.0)
    assert found.ms == pytest.approx(10.0)
    assert found.ci95 == found.spread == pytest.approx((2.0, 2.0))

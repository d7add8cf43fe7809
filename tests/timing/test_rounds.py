"""Taking turns: fair, and free of what the machine does meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.timing.fake import FakeTime
from edgecnn.timing.ratio import compare_rounds
from edgecnn.timing.rounds import CallSlice, RoundSettings, calls_for, interleave


def _slices(time: FakeTime, seconds: list[float], count: int = 1, lead_in: int = 0) -> list[CallSlice]:
    def taking(each: float) -> Callable[[int], float]:
        return lambda _: each

    return [
        CallSlice(time.runner(str(at), taking(each)), count, lead_in, time.clock)
        for at, each in enumerate(seconds)
    ]


@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 1000))
def test_every_variant_is_measured_once_in_every_round(variants: int, rounds: int, seed: int) -> None:
    time = FakeTime()
    settings = RoundSettings(seconds=0, least=rounds, seed=seed)
    found = interleave(_slices(time, [0.001] * variants), settings, time.clock)
    assert [len(each) for each in found] == [rounds] * variants
    turns = [time.order[at : at + variants] for at in range(0, len(time.order), variants)]
    assert all(sorted(turn) == [str(at) for at in range(variants)] for turn in turns)
    for one, other in combinations(map(str, range(variants)), 2):
        before = sum(turn.index(one) < turn.index(other) for turn in turns)
        assert abs(2 * before - rounds) <= 1


def test_no_variant_always_follows_the_same_one() -> None:
    time = FakeTime()
    interleave(_slices(time, [0.001] * 4), RoundSettings(seconds=0, least=200), time.clock)
    turns = [time.order[at : at + 4] for at in range(0, 800, 4)]
    followed = Counter(turn[turn.index("3") - 1] for turn in turns if turn[0] != "3")
    assert set(followed) == {"0", "1", "2"}
    assert min(followed.values()) > 25


def test_a_machine_that_gets_slower_favours_none() -> None:
    """It loses a tenth of its speed every second, in 20 seconds: the ratio stays as it is."""
    time = FakeTime()

    def slowing(seconds: float) -> Callable[[int], float]:
        return lambda _: seconds * (1 + time.now_ns * 1e-10)

    runs = [time.runner(name, slowing(each)) for name, each in (("a", 0.002), ("b", 0.001))]
    slices = [CallSlice(runs[0], 5, clock=time.clock), CallSlice(runs[1], 10, clock=time.clock)]
    found = interleave(slices, RoundSettings(seconds=20), time.clock)
    a, b = (np.array([calls.mean() for calls in rounds]) for rounds in found)
    ratio = compare_rounds(a, b)
    assert ratio is not None
    assert ratio.ratio == pytest.approx(2, rel=0.002)
    assert a.max() > 2 * a.min()


def test_the_samples_are_the_calls_and_the_lead_in_is_none_of_them() -> None:
    time = FakeTime()
    run = time.runner("run", lambda at: 0.5 if at % 5 < 2 else 0.001 * (at % 5))
    slices = [CallSlice(run, 3, 2, time.clock)]
    (found,) = interleave(slices, RoundSettings(seconds=0, least=2), time.clock)
    assert [calls.tolist() for calls in found] == [[2_000_000, 3_000_000, 4_000_000]] * 2


def test_it_ends_when_the_time_is_up_and_tells_how_far_it_is() -> None:
    time, seen = FakeTime(), list[float]()
    slices = _slices(time, [0.1, 0.1])
    (found, _) = interleave(slices, RoundSettings(seconds=2.0), time.clock, seen.append)
    assert len(found) == 10
    assert seen == pytest.approx([0.1 * step for step in range(1, 11)])


def test_it_ends_early_when_nothing_is_wanted_any_more() -> None:
    time = FakeTime()
    (found,) = interleave(
        _slices(time, [0.1]), RoundSettings(seconds=2.0), time.clock, wanted=lambda: len(time.order) < 3
    )
    assert len(found) == 3


def test_calls_for_a_round() -> None:
    assert calls_for(2e6, 0.05) == 25
    assert calls_for(2e9, 0.05) == 1
    assert calls_for(0.0, 0.001) == 1_000_000


@pytest.mark.parametrize(
    ("factor", "spread", "verdict"),
    [(1.3, 0.1, "distinct"), (0.8, 0.1, "distinct"), (1.0, 0.01, "same"), (1.03, 0.8, "unclear")],
)
def test_the_verdict_on_a_ratio(factor: float, spread: float, verdict: str) -> None:
    random = np.random.default_rng(0)
    baseline = 5 * np.exp(spread * random.normal(size=60))
    found = compare_rounds(baseline, baseline / factor * np.exp(spread * random.normal(size=60)))
    assert found is not None
    assert found.verdict == verdict
    assert found.ci95[0] <= found.ratio <= found.ci95[1]


def test_equal_variants_are_rarely_called_distinct() -> None:
    """Of 300 comparisons, 15 are expected at most; 30 are reached once in 5,000 times."""
    random = np.random.default_rng(1)
    pairs = np.exp(0.05 * random.normal(size=(300, 2, 40)))
    ratios = [compare_rounds(one, other) for one, other in pairs]
    assert sum(ratio is not None and ratio.verdict == "distinct" for ratio in ratios) <= 30


def test_five_rounds_are_too_few_for_a_ratio() -> None:
    assert compare_rounds(np.ones(5), np.ones(5)) is None

"""Percentiles and intervals, on samples whose distribution is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecnn.timing.fake import FakeTime
from edgecnn.timing.order_statistics import nearest_rank, quantile_ranks
from edgecnn.timing.percentiles import SHARES, enough_samples, summarise
from edgecnn.timing.rounds import CallSlice

Samples = NDArray[np.float64]

#: Quantile functions of latencies as they occur: a floor and a tail, two modes, nearly constant.
LATENCIES: dict[str, Callable[[Samples], Samples]] = {
    "tail": lambda share: 2 - np.log(1 - share),
    "two modes": lambda share: np.where(share < 0.93, 1 + share, 20 + share),
    "heavy tail": lambda share: (1 - share) ** -0.7,
}


def _binomial(count: int, share: Fraction, upto: int) -> Fraction:
    """P(B <= upto), exact."""
    terms = (math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(upto + 1))
    return sum(terms, Fraction(0))


@given(st.integers(1, 80), st.sampled_from([(1, 2), (9, 10), (19, 20), (1, 3)]))
def test_ranks_are_the_closest_that_miss_rarely_enough(count: int, ratio: tuple[int, int]) -> None:
    share = Fraction(*ratio)
    lower, upper = quantile_ranks(count, float(share))
    allowed = Fraction(25, 1000)

    def misses_below(rank: int) -> Fraction:
        return _binomial(count, share, rank - 1)

    def misses_above(rank: int) -> Fraction:
        return 1 - _binomial(count, share, rank - 1)

    if lower is not None:
        assert misses_below(lower) <= allowed
    assert misses_below((lower or 0) + 1) > allowed
    if upper is not None:
        assert misses_above(upper) <= allowed
    assert upper == 1 or misses_above((upper or count + 1) - 1) > allowed


@pytest.mark.parametrize("count", [400, 100_000, 10_000_000])
def test_ranks_of_long_runs_are_near_the_normal_ones(count: int) -> None:
    lower, upper = quantile_ranks(count, 0.99)
    assert lower is not None
    assert upper is not None
    half = 1.96 * math.sqrt(count * 0.99 * 0.01)
    assert lower == pytest.approx(0.99 * count - half, abs=3)
    assert upper == pytest.approx(0.99 * count + half, abs=3)


@pytest.mark.parametrize("name", LATENCIES)
def test_intervals_cover_the_true_percentile_at_their_rate(name: str) -> None:
    """Of 400 runs of a fake engine, at most 37 of 20 expected miss: P < 0.0002 for a true rate of 95 %."""
    random, runs = np.random.default_rng(3), 400
    quantile = LATENCIES[name]
    missed = dict.fromkeys(SHARES, 0)
    given_ = dict.fromkeys(SHARES, 0)
    for _ in range(runs):
        time = FakeTime()
        draws = quantile(random.random(1000)) * 1e-3
        run = time.runner("engine", lambda at, draws=draws: float(draws[at]))  # type: ignore[misc]
        found = summarise(1e-6 * CallSlice(run, 1000, clock=time.clock)().astype(np.float64))
        for share, percentile in found.percentiles.items():
            if percentile.ci95 is not None:
                low, high = percentile.ci95
                given_[share] += 1
                missed[share] += not low <= float(quantile(np.array(share))) <= high + 1e-6
    assert given_[0.999] == 0
    assert all(given_[share] == runs for share in (0.5, 0.9, 0.95))
    assert given_[0.99] > 0.95 * runs
    assert all(missed[share] <= 37 for share in SHARES), missed


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300))
def test_a_summary_is_in_order_and_made_of_samples(values: list[float]) -> None:
    found = summarise(np.array(values))
    assert found.count == len(values)
    assert found.quantiles[0] == min(values)
    assert found.quantiles[100] == max(values)
    assert list(found.quantiles) == sorted(found.quantiles)
    assert set(found.quantiles) <= set(values)
    told = [percentile.value for percentile in found.percentiles.values() if percentile.value is not None]
    assert told == sorted(told)
    for percentile in found.percentiles.values():
        if percentile.ci95 is not None:
            assert percentile.value is not None
            assert percentile.ci95[0] <= percentile.value <= percentile.ci95[1]


@pytest.mark.parametrize(
    ("count", "told", "bounded"),
    [
        (1, set(), set()),
        (5, {0.5}, set()),
        (10, {0.5, 0.9}, {0.5}),
        (100, {0.5, 0.9, 0.95, 0.99}, {0.5, 0.9, 0.95}),
        (999, {0.5, 0.9, 0.95, 0.99}, {0.5, 0.9, 0.95, 0.99}),
        (3000, {0.5, 0.9, 0.95, 0.99}, {0.5, 0.9, 0.95, 0.99}),  # p99.9 is told with its interval, or not
        (4000, {0.5, 0.9, 0.95, 0.99, 0.999}, {0.5, 0.9, 0.95, 0.99, 0.999}),
    ],
)
def test_too_few_samples_give_no_percentile_or_no_interval(
    count: int, told: set[float], bounded: set[float]
) -> None:
    # Multiples of the golden ratio: evenly spread, and no block differs from another.
    found = summarise(1 + np.arange(count, dtype=np.float64) * 0.6180339887 % 1)
    assert {share for share, each in found.percentiles.items() if each.value is not None} == told
    assert {share for share, each in found.percentiles.items() if each.ci95 is not None} == bounded


@pytest.mark.parametrize(
    ("count", "share", "enough"),
    [
        (9, 0.9, False),
        (10, 0.9, True),
        (99, 0.99, False),
        (100, 0.99, True),
        (3687, 0.999, False),
        (3688, 0.999, True),
    ],
)
def test_how_many_samples_tell_a_percentile(count: int, share: float, enough: bool) -> None:
    assert enough_samples(count, share) == enough


def test_dependent_samples_do_not_tell_the_highest_percentile() -> None:
    samples = np.random.default_rng(0).random(6000)  # enough of them, were they independent
    samples[2000:2012] += 10  # one burst, and not twelve slow queries
    found = summarise(samples).percentiles
    assert found[0.999].value is None
    assert found[0.99].value is not None


def test_jitter_is_the_change_from_one_to_the_next() -> None:
    assert summarise(np.array([1.0, 3.0, 2.0])).jitter == pytest.approx(1.5)
    assert summarise(np.array([1.0])).jitter is None


def test_ranks_are_nearest_ranks() -> None:
    assert [nearest_rank(10, share) for share in (0.1, 0.5, 0.9, 0.91, 0.999)] == [1, 5, 9, 10, 10]
    assert nearest_rank(1000, 0.07) == 70


def test_no_samples_are_no_summary() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summarise(np.array([]))


def test_a_normal_latency_has_a_normal_median() -> None:
    samples = np.array([NormalDist(5, 1).inv_cdf(share) for share in (np.arange(999) + 1) / 1000])
    assert summarise(samples).median == pytest.approx(5)

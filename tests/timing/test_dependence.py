"""Intervals of samples that depend on each other, on processes whose true figures are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.timing.dependence import Dependence, block_means, estimate_dependence, mean_interval
from edgecnn.timing.order_statistics import median_interval, nearest_rank, quantile_interval, quantile_ranks

Samples = NDArray[np.float64]
Process = Callable[[np.random.Generator, int], Samples]

_RUNS = 200


def _independent(random: np.random.Generator, count: int) -> Samples:
    return 1 + random.exponential(size=count)


def _neighbours(random: np.random.Generator, count: int, memory: float = 0.9) -> Samples:
    """Normal samples, each correlated with the one before; 19 of memory 0.9 are worth one."""
    noise = (random.normal(size=count) * math.sqrt(1 - memory**2)).tolist()
    samples = [random.normal()]
    for each in noise[1:]:
        samples.append(memory * samples[-1] + each)
    return np.array(samples)


def _moods(random: np.random.Generator, count: int, length: int = 60) -> Samples:
    """A machine whose speed, with a spread of 5 %, is drawn anew every ``length`` samples."""
    begin = random.integers(length)
    levels = np.repeat(random.normal(0, 0.05, count // length + 2), length)[begin : begin + count]
    return np.exp(levels) * (1 + random.exponential(0.05, count))


def _interval(samples: Samples, share: float | None) -> tuple[float, float] | None:
    return mean_interval(samples) if share is None else quantile_interval(samples, share)


@pytest.mark.parametrize(
    ("process", "count", "least"),
    [
        (_independent, 60, {0.5: 0.90, None: 0.90}),
        (_independent, 1000, {0.5: 0.90, 0.9: 0.90, 0.99: 0.90, None: 0.90}),
        (_moods, 600, {0.5: 0.88, 0.9: 0.82, None: 0.85}),
        (_moods, 3000, {0.5: 0.90, 0.9: 0.88, 0.99: 0.88, None: 0.90}),
        (_neighbours, 200, {0.5: 0.86, None: 0.82}),
        (_neighbours, 1000, {0.5: 0.90, 0.9: 0.90, None: 0.88}),
    ],
)
def test_intervals_cover_the_truth(process: Process, count: int, least: dict[float | None, float]) -> None:
    """Of 200 runs, five standard deviations below the 95 % of a long run, or the 90 % of a barely long enough
    one, are allowed for; three in five have an interval. Blocks of a 32nd of the run covered 0.62 to 0.73.
    """
    random = np.random.default_rng(11)
    long = process(random, 300_000)
    truths = {share: float(long.mean() if share is None else np.quantile(long, share)) for share in least}
    covered: dict[float | None, list[bool]] = {share: [] for share in least}
    for _ in range(_RUNS):
        samples = process(random, count)
        for share, truth in truths.items():
            if (found := _interval(samples, share)) is not None:
                covered[share].append(found[0] <= truth <= found[1])
    assert all(len(each) >= 0.5 * _RUNS for each in covered.values())
    for share, rate in least.items():
        assert np.mean(covered[share]) >= rate, (share, np.mean(covered[share]))


def test_independent_samples_pay_little() -> None:
    """Their intervals are hardly wider than those that take independence for granted."""
    random = np.random.default_rng(4)
    lower, upper = quantile_ranks(1000, 0.5)
    assert lower is not None
    assert upper is not None
    wider = []
    for _ in range(_RUNS):
        ordered = np.sort(samples := _independent(random, 1000))
        found = median_interval(samples)
        assert found is not None
        wider.append((found[1] - found[0]) / (ordered[upper - 1] - ordered[lower - 1]))
    assert np.median(wider) < 1.1
    assert np.quantile(wider, 0.95) < 1.5


def test_what_depends_over_the_whole_run_has_no_interval() -> None:
    random = np.random.default_rng(8)
    for samples in (_moods(random, 600, 300), np.linspace(1, 2, 500), np.cumsum(random.normal(size=800))):
        assert estimate_dependence(samples, samples) is None
        assert mean_interval(samples) is None
        assert median_interval(samples) is None


@pytest.mark.parametrize("count", [20_000, 5000])
def test_the_time_is_that_of_the_process(count: int) -> None:
    """(1 + 0.9) / (1 - 0.9) = 19, also where the series is cut into blocks first."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(15):
        samples = _neighbours(random, count)
        told = estimate_dependence(samples, samples)
        assert told is not None
        found.append(told.time)
    assert np.median(found) == pytest.approx(19, rel=0.25)


def test_independent_and_constant_samples_are_worth_one_each() -> None:
    samples = np.random.default_rng(1).normal(size=20_000)
    found = estimate_dependence(samples, samples)
    assert found is not None
    assert 1 <= found.price < 1.2
    constant = estimate_dependence(np.ones(100), np.ones(100))
    assert constant is not None
    assert constant.time == 1
    assert mean_interval(np.ones(100)) == (1, 1)


def test_too_few_samples_count_as_independent() -> None:
    steps = np.arange(24.0)
    found = estimate_dependence(steps, steps)
    assert found == Dependence(1.0, math.inf)
    assert found.price == 1
    lower, upper = quantile_ranks(24, 0.5)
    assert median_interval(steps) == ((lower or 0) - 1, (upper or 0) - 1)


def test_the_mean_of_independent_samples_has_students_interval() -> None:
    """t = 2.776 at four degrees of freedom; the expansion that is used is 0.3 % below."""
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    low, high = mean_interval(values) or (0.0, 0.0)
    assert (high - low) / 2 == pytest.approx(2.776 * math.sqrt(2.5 / 5), rel=0.004)
    assert (low + high) / 2 == pytest.approx(3)
    assert mean_interval(values[:4]) is None


def test_a_quantile_knows_of_the_moods_that_its_own_samples_hardly_show() -> None:
    """Whether one sample in a hundred is beyond p99 looks like chance; that the median moves does not."""
    samples = _moods(np.random.default_rng(3), 3000)
    beyond = samples <= np.sort(samples)[nearest_rank(3000, 0.99) - 1]
    alone, guided = estimate_dependence(beyond, beyond), estimate_dependence(beyond, samples)
    assert alone is not None
    assert guided is not None
    assert guided.freedom < alone.freedom
    assert guided.time >= alone.time


def test_block_means_leave_out_a_rest_at_the_start() -> None:
    assert block_means(np.array([9.0, 1.0, 3.0, 5.0, 7.0]), 2).tolist() == [2.0, 6.0]

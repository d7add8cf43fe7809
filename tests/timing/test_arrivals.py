"""Poisson arrivals, against what such a process must look like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.timing.arrivals import poisson_arrivals


def kolmogorov_smirnov(gaps: np.ndarray, per_s: float) -> float:
    """P-value of "the gaps are exponential of this rate" (Kolmogorov's series, Stephens' correction)."""
    ordered = np.sort(gaps)
    count = len(ordered)
    model = 1 - np.exp(-ordered * per_s * 1e-9)
    steps = np.arange(count + 1) / count
    distance = max(float(np.max(steps[1:] - model)), float(np.max(model - steps[:-1])))
    scaled = (math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count)) * distance
    return 2 * math.fsum((-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101))


@given(st.floats(50, 5000), st.integers(0, 2**32 - 1))
@settings(max_examples=150, derandomize=True)
def test_gaps_are_exponential(per_s: float, seed: int) -> None:
    """Of 150 tests at 1 in 10,000, none should fail by chance."""
    arrivals = poisson_arrivals(per_s, 4000 / per_s, seed)
    gaps = np.diff(arrivals, prepend=0)
    assert kolmogorov_smirnov(gaps, per_s) > 1e-4


def test_p_values_of_many_seeds_are_uniform() -> None:
    """A process that is too regular would pass the single tests; here its p-values would crowd near 1."""
    values = [
        kolmogorov_smirnov(np.diff(poisson_arrivals(100, 10, seed), prepend=0), 100) for seed in range(300)
    ]
    # Each tenth expects 30, with a standard deviation of 5.2.
    counts, _ = np.histogram(values, bins=10, range=(0, 1))
    assert counts.min() >= 10
    assert counts.max() <= 52


def test_counts_vary_as_a_poisson_process_does() -> None:
    """Mean and variance of the count in a second are both the rate."""
    counts = np.array([len(poisson_arrivals(40, 1, seed)) for seed in range(3000)])
    assert counts.mean() == pytest.approx(40, rel=0.02)
    assert counts.var() == pytest.approx(40, rel=0.1)


def test_gaps_do_not_depend_on_each_other() -> None:
    gaps = np.diff(poisson_arrivals(1000, 50, 1))
    assert abs(float(np.corrcoef(gaps[1:], gaps[:-1])[0, 1])) < 3 / math.sqrt(len(gaps))


@given(st.floats(0.01, 2000), st.floats(0.001, 3), st.integers(0, 100))
def test_arrivals_are_in_order_and_in_time(per_s: float, seconds: float, seed: int) -> None:
    arrivals = poisson_arrivals(per_s, seconds, seed)
    assert np.all(np.diff(arrivals) >= 0)
    assert np.all((arrivals >= 0) & (arrivals < seconds * 1e9))
    assert np.array_equal(arrivals, poisson_arrivals(per_s, seconds, seed))

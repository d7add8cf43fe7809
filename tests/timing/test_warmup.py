"""Finding when latency has settled, on curves whose start is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecnn.timing.fake import FakeTime
from edgecnn.timing.warmup import WarmUpLimits, settled_from, warm_up

Samples = NDArray[np.float64]


def noisy(curve: Samples, seed: int = 0, spread: float = 0.03) -> Samples:
    """With noise that is skewed and has spikes, as latency's is."""
    random = np.random.default_rng(seed)
    spikes = np.where(random.random(len(curve)) < 0.01, 1.0, 0.0)
    return curve * (1 + spread * random.exponential(size=len(curve)) + spikes)


@given(st.integers(0, 120), st.floats(1.2, 10), st.integers(0, 1000))
def test_a_step_is_never_left_in(at: int, height: float, seed: int) -> None:
    found = settled_from(noisy(np.where(np.arange(400) < at, height, 1.0), seed))
    assert found is None or found >= at - 5


@pytest.mark.parametrize("at", [3, 60, 120])
def test_a_step_is_found(at: int) -> None:
    """Now and then chance makes it wait for more."""
    curve = np.where(np.arange(400) < at, 2.0, 1.0)
    found = [settled_from(noisy(curve, seed)) for seed in range(100)]
    assert sum(each is not None for each in found) >= 95


def test_a_decay_is_cut_where_it_is_over() -> None:
    """Three times the noise is left after some 160 samples. Now and then chance makes it wait for more."""
    curve = 1 + 3 * np.exp(-np.arange(1000) / 50)
    cuts = [settled_from(noisy(curve, seed)) for seed in range(40)]
    found = [cut for cut in cuts if cut is not None]
    assert len(found) >= 34
    assert all(100 <= cut <= 500 for cut in found)


@pytest.mark.parametrize("seed", range(20))
def test_a_run_that_is_still_getting_faster_has_not_settled(seed: int) -> None:
    assert settled_from(noisy(np.linspace(3, 1, 200), seed)) is None
    assert settled_from(noisy(np.where(np.arange(200) < 150, 2.0, 1.0), seed)) is None


def test_a_drift_of_less_than_a_percent_is_no_warm_up() -> None:
    assert settled_from(np.linspace(1.01, 1.0, 400)) is not None


def test_constant_latency_has_settled_at_once() -> None:
    assert settled_from(np.ones(40)) == 0


def test_slow_calls_settle_in_fewer_samples() -> None:
    """A hundred calls of half a second would take almost a minute."""
    time = FakeTime()
    run = time.runner("run", lambda at: 2.0 if at < 3 else 0.5 + 0.001 * (at % 3))
    found = warm_up(run, WarmUpLimits(most_s=60), time.clock)
    assert found.settled
    assert found.calls <= 24


def test_few_samples_tell_nothing() -> None:
    assert settled_from(np.ones(11)) is None


def test_warming_up_goes_on_until_latency_has_settled() -> None:
    time = FakeTime()
    run = time.runner("run", lambda at: 0.02 if at < 30 else 0.01)
    found = warm_up(run, WarmUpLimits(least_s=0.65, most_s=60), time.clock)
    assert found.settled
    assert 40 <= found.calls <= 90
    assert found.calls == len(time.order)
    assert found.first_ns == 20_000_000
    assert found.call_ns == 10_000_000
    assert found.seconds == pytest.approx(0.6 + (found.calls - 30) * 0.01)


def test_what_settles_late_is_waited_for() -> None:
    """A constant latency would have settled after 12 calls, 1.2 ms."""
    time = FakeTime()
    found = warm_up(time.runner("run", lambda _: 1e-4), WarmUpLimits(least_s=0.5, most_s=60), time.clock)
    assert found.settled
    assert 0.5 <= found.seconds < 0.7


def test_warming_up_ends_when_its_time_is_up() -> None:
    time = FakeTime()
    run = time.runner("run", lambda at: 0.1 / (1 + at * 0.01))
    found = warm_up(run, WarmUpLimits(least_s=0.1, most_s=2), time.clock)
    assert not found.settled
    assert found.seconds == pytest.approx(2, abs=0.1)


def test_a_call_that_takes_longer_than_the_limit_is_made_once() -> None:
    time = FakeTime()
    found = warm_up(time.runner("run", lambda _: 7.0), WarmUpLimits(most_s=2), time.clock)
    assert (found.calls, found.settled) == (1, False)

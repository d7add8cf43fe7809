"""Offline and server load, on a clock that only the engine moves."""

from __future__ import annotations

import time as system_time
from collections.abc import Callable

import numpy as np
import pytest

from edgecnn.timing.arrivals import poisson_arrivals
from edgecnn.timing.fake import FakeTime
from edgecnn.timing.scenarios import long_enough, offline_slice, serve


def _ticking() -> FakeTime:
    """Every look takes 2 microseconds, so that waiting for an arrival ends."""
    return FakeTime(look_ns=2_000)


def _arrivals(*seconds: float) -> np.ndarray:
    return np.array([round(each * 1e9) for each in seconds], np.int64)


def test_latency_counts_from_the_scheduled_arrival() -> None:
    """The first answer takes a second; those who arrive meanwhile have waited, and all of them show it."""
    time = _ticking()
    run = time.runner("run", lambda at: 1.0 if at == 0 else 0.01)
    found = serve([run], _arrivals(0.0, 0.1, 0.2, 0.3, 2.0), 10, time.clock)
    assert found.latencies_ns * 1e-9 == pytest.approx([1.0, 0.91, 0.82, 0.73, 0.01], abs=1e-3)
    assert found.unanswered == 0
    assert found.seconds == pytest.approx(2.01, abs=1e-3)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_waiting_is_that_of_a_queue_with_poisson_arrivals(load: float) -> None:
    """M/D/1: a constant service time S waits load * S / (2 (1 - load)) on average (Pollaczek, Khinchine)."""
    time = _ticking()
    service, per_s = 0.004, load / 0.004
    arrivals = poisson_arrivals(per_s, 30_000 / per_s, seed=7)
    found = serve([time.runner("run", lambda _: service)], arrivals, 1e9, time.clock)
    waited = found.latencies_ns * 1e-9 - service
    assert waited.mean() == pytest.approx(load * service / (2 * (1 - load)), rel=0.1)
    assert waited.min() >= -1e-9


def test_what_cannot_be_answered_is_given_up_and_counts_as_late() -> None:
    """Ten queries at once, a second each, and three seconds in all."""
    time = _ticking()
    found = serve([time.runner("run", lambda _: 1.0)], _arrivals(*[0.0] * 10), 2.5, time.clock)
    assert found.unanswered == 7
    assert found.latencies_ns * 1e-9 == pytest.approx([1, 2, *[3] * 8], abs=1e-3)


def test_no_arrival_is_no_query() -> None:
    found = serve([lambda: None], _arrivals(), 1, FakeTime().clock)
    assert (len(found.latencies_ns), found.unanswered) == (0, 0)


def test_offline_keeps_an_instance_busy() -> None:
    time = FakeTime()
    found = offline_slice([time.runner("run", lambda _: 0.03)], 0.1, time.clock)
    assert found.latencies_ns.tolist() == [30_000_000] * 4
    assert found.calls_per_s == pytest.approx(1 / 0.03)


def test_offline_makes_one_call_however_long_it_takes() -> None:
    time = FakeTime()
    found = offline_slice([time.runner("run", lambda _: 3.0)], 0.1, time.clock)
    assert found.calls_per_s == pytest.approx(1 / 3)


@pytest.mark.parametrize("instances", [2, 3])
def test_instances_share_the_queries(instances: int) -> None:
    calls = [0] * instances

    def instance(at: int) -> Callable[[], None]:
        def run() -> None:
            calls[at] += 1
            system_time.sleep(0.002)

        return run

    runs = [instance(at) for at in range(instances)]
    served = serve(runs, _arrivals(*[0.0] * 12), 60)
    assert sum(calls) == 12
    assert all(calls)
    assert served.unanswered == 0
    assert np.all(served.latencies_ns > 0)
    offline = offline_slice(runs, 0.02)
    assert sum(calls) == 12 + len(offline.latencies_ns)


@pytest.mark.parametrize("instances", [1, 2])
def test_an_error_of_an_instance_comes_out(instances: int) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        serve([fail] * instances, _arrivals(0.0, 0.0), 1)
    with pytest.raises(RuntimeError, match="broken"):
        offline_slice([fail] * instances, 0.01)


def test_a_shortened_run_is_not_one_that_the_rules_accept() -> None:
    assert not long_enough("single", 10, 100_000)
    assert not long_enough("offline", 600, 24_575)
    assert long_enough("offline", 600, 24_576)
    assert long_enough("single", 601, 64)

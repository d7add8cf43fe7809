"""Which configuration is chosen, on machines whose speed is known."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.bench.tune import Configuration, Objective, TuneSettings, Tuning, configurations, tune
from edgecnn.bench.tune_result import doubt, verdict
from edgecnn.timing.clock import Clock
from edgecnn.timing.fake import FakeTime
from edgecnn.timing.scenarios import Offline

Speeds = dict[tuple[int, int, int], float]


def _machine(
    call_ms: Speeds, noise: float = 0.0
) -> tuple[dict[Configuration, Callable[[], Offline]], Clock, list[Configuration]]:
    """Slices of 100 ms of fake time, by (instances, threads, batch), and what ran."""
    time, random = FakeTime(), Random(7)
    ran: list[Configuration] = []

    def slice_of(configuration: Configuration, milliseconds: float) -> Callable[[], Offline]:
        def measure() -> Offline:
            time.pass_by(0.1)
            ran.append(configuration)
            call = milliseconds * random.lognormvariate(0, noise)
            calls = max(1, round(100 / call))
            rate = 1e3 / call * configuration.instances
            return Offline(rate, np.full(calls * configuration.instances, round(call * 1e6), np.int64))

        return measure

    slices = {
        (key := Configuration(instances=instances, threads=threads, batch=batch)): slice_of(key, speed)
        for (instances, threads, batch), speed in call_ms.items()
    }
    return slices, time.clock, ran


def _tuned(call_ms: Speeds, noise: float = 0.0, seconds: float = 30, **settings: object) -> Tuning:
    slices, clock, _ = _machine(call_ms, noise)
    return tune(slices, TuneSettings(seconds=seconds, **settings), clock)  # type: ignore[arg-type]


def _key(tuning: Tuning) -> tuple[int, int, int]:
    assert tuning.best is not None
    best = tuning.best.configuration
    return best.instances, best.threads, best.batch


#: Roughly MobileNetV2 on two cores: two instances give the most images, two threads the fastest call.
TWO_CORES: Speeds = {(1, 1, 1): 4.0, (1, 2, 1): 2.1, (2, 1, 1): 3.7, (1, 2, 8): 17.8, (2, 1, 8): 36.0}


def test_throughput_and_latency_are_won_by_different_configurations() -> None:
    assert _key(_tuned(TWO_CORES)) == (2, 1, 1)
    assert _key(_tuned(TWO_CORES, objective="latency")) == (1, 2, 1)


def test_a_limit_of_latency_excludes_the_best_throughput() -> None:
    assert _key(_tuned(TWO_CORES, max_latency_ms=3.0)) == (1, 2, 1)


def test_what_keeps_to_no_limit_is_no_best_and_the_nearest_is_still_told() -> None:
    tuning = _tuned(TWO_CORES, max_latency_ms=1.0)
    assert tuning.best is None
    assert tuning.cost_curve() == ()
    nearest = min(tuning.measured, key=lambda each: each.p95_ms)
    assert nearest.configuration == Configuration(instances=1, threads=2, batch=1)


def test_a_clear_win_is_said_with_its_interval() -> None:
    tuning = _tuned(TWO_CORES, noise=0.01)
    assert doubt(tuning) == ""
    assert "times as good (95 % interval 1." in verdict(tuning)
    assert tuning.runner_up is not None
    assert tuning.runner_up.configuration == Configuration(instances=1, threads=2, batch=1)


def test_on_a_noisy_machine_the_simpler_one_is_taken_and_the_doubt_told() -> None:
    tuning = _tuned({(1, 2, 8): 39.0, (1, 2, 1): 5.0, (1, 1, 1): 100.0}, noise=0.5, seconds=4)
    assert _key(tuning) == (1, 2, 1)
    assert "too noisy" in doubt(tuning)
    assert verdict(tuning) == ""


def test_equals_are_called_equal_and_the_simpler_one_is_taken() -> None:
    tuning = _tuned({(1, 2, 8): 39.99, (1, 2, 1): 5.0}, noise=0.002)
    assert _key(tuning) == (1, 2, 1)
    assert doubt(tuning) == ""
    assert "equal within 2%" in verdict(tuning)


def test_too_short_a_run_is_a_doubt_and_no_crash() -> None:
    tuning = _tuned(TWO_CORES, noise=0.3, seconds=0.001)
    assert tuning.best is not None
    assert len(tuning.best.slices) == 6


def test_one_configuration_is_the_best_of_one() -> None:
    tuning = _tuned({(1, 1, 1): 4.0})
    assert _key(tuning) == (1, 1, 1)
    assert tuning.runner_up is None
    assert doubt(tuning) == verdict(tuning) == ""


def test_the_hopeless_get_few_rounds_and_the_rest_of_the_time_goes_to_the_others() -> None:
    slices, clock, ran = _machine({**TWO_CORES, (1, 1, 8): 400.0})
    tune(slices, TuneSettings(seconds=30), clock)
    hopeless = ran.count(Configuration(instances=1, threads=1, batch=8))
    hopeful = ran.count(Configuration(instances=2, threads=1, batch=1))
    assert hopeless < hopeful / 2
    assert len(ran) == pytest.approx(300, abs=10)


def test_the_cost_curve_has_every_batch_of_the_best_threads_and_instances() -> None:
    curve = _tuned(TWO_CORES).cost_curve()
    assert [each.configuration.batch for each in curve] == [1, 8]
    assert [each.latency_ms.median for each in curve] == pytest.approx([3.7, 36.0])


def test_progress_runs_from_zero_to_one() -> None:
    slices, clock, _ = _machine(TWO_CORES)
    shares: list[float] = []
    tune(slices, TuneSettings(seconds=5), clock, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_two_cores() -> None:
    found = configurations(2, (1, 8), "throughput")
    assert {(each.instances, each.threads) for each in found} == {(1, 1), (1, 2), (2, 1)}
    assert {each.batch for each in found} == {1, 8}
    assert found[0] == Configuration(batch=1, instances=1, threads=1)


def test_for_latency_nothing_runs_beside_the_call() -> None:
    assert {each.instances for each in configurations(8, (1,), "latency")} == {1}


def test_threads_that_the_user_or_the_engine_sets_are_not_tried_out() -> None:
    assert {(each.instances, each.threads) for each in configurations(8, (1,), "throughput", (2,))} == {
        (1, 2),
        (4, 2),
    }
    assert {(each.instances, each.threads) for each in configurations(8, (1,), "throughput", (0,))} == {
        (1, 0),
        (2, 0),
    }


@given(
    st.integers(1, 200),
    st.lists(st.integers(1, 64), min_size=1, max_size=4),
    st.sampled_from(["latency", "throughput"]),
)
def test_no_configuration_takes_more_cores_than_there_are(
    cores: int, batches: list[int], objective: Objective
) -> None:
    found = configurations(cores, batches, objective)
    assert len(set(found)) == len(found) <= 20 * len(batches)
    assert all(each.instances * each.threads <= cores for each in found)
    assert {each.batch for each in found} == set(batches)
    assert any(each.threads == cores for each in found)


def test_for_latency_a_larger_batch_is_no_runner_up() -> None:
    tuning = _tuned({(1, 2, 1): 2.0, (1, 2, 2): 3.0, (1, 1, 1): 4.0}, objective="latency")
    assert tuning.runner_up is not None
    assert tuning.runner_up.configuration == Configuration(instances=1, threads=1, batch=1)
    assert [each.configuration.batch for each in tuning.cost_curve()] == [1, 2]

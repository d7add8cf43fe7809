"""What arrives against what can be answered, on a clock that only the engine moves."""

from __future__ import annotations

import math

import pytest

from edgecnn.timing.fake import FakeTime
from edgecnn.timing.queueing import TimedRun, queue_load


def _timed(*services: float) -> TimedRun:
    """An instance that has answered one query in each of ``services`` seconds."""
    time = FakeTime()
    run = TimedRun(time.runner("run", services.__getitem__), time.clock)
    for _ in services:
        run()
    return run


def test_every_call_that_returns_is_timed() -> None:
    assert _timed(0.01, 0.02).took_ns == [10_000_000, 20_000_000]


def test_a_call_that_fails_is_not_timed() -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    run = TimedRun(fail)
    with pytest.raises(RuntimeError, match="broken"):
        run()
    assert run.took_ns == []


def test_one_instance_of_constant_service() -> None:
    """2 S load / (1 - load)^2."""
    found = queue_load(80.0, [_timed(0.01, 0.01)])
    assert (found.capacity_per_s, found.load) == pytest.approx((100.0, 0.8))
    assert found.settling_s == pytest.approx(2 * 0.01 * 0.8 / 0.2**2)


def test_instances_add_up_and_a_varying_service_settles_more_slowly() -> None:
    constant = queue_load(160.0, [_timed(0.01), _timed(0.01)])
    varying = queue_load(160.0, [_timed(0.015), _timed(0.005)])
    assert constant.load == varying.load == pytest.approx(0.8)
    assert constant.settling_s == pytest.approx(2 * 0.01 * 0.8 / 0.2**2 / 2)
    assert varying.settling_s == pytest.approx(constant.settling_s * 1.25)


def test_from_a_load_of_1_on_it_never_settles() -> None:
    found = queue_load(105.0, [_timed(0.01)])
    assert found.load == pytest.approx(1.05)
    assert found.settling_s == math.inf


def test_nothing_answered_is_no_load() -> None:
    assert queue_load(100.0, [_timed()]).load == 0

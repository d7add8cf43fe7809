"""Whether a server run kept up, and its bound held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import Artifact
from edgecnn.bench.by_arrivals import answer_arrivals
from edgecnn.bench.kept_up import ServerRun, kept_up, server_gates, server_warnings
from edgecnn.bench.plan import BenchPlan
from edgecnn.engines.choice import parse_choice
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId
from edgecnn.timing.fake import FakeTime
from edgecnn.timing.queueing import QueueLoad

_SPEC = ModelSpec(
    network="tiny",
    classes=("a", "b"),
    input=TensorSpec(name="x", dtype="float32", shape=("n", 3, 1, 1)),
    output=TensorSpec(name="y", dtype="float32", shape=("n", 2)),
    preprocess=Preprocess(resize=None, crop=(1, 1)),
    weights=WeightsId(kind="unknown", name="tiny.onnx"),
)


def _plan(**more: Any) -> BenchPlan:
    models = (Artifact(Path("tiny.onnx"), _SPEC),)
    load: dict[str, Any] = {"target_qps": 300.0, **more}
    return BenchPlan(models=models, engines=(parse_choice("ort"),), scenario="server", **load)


def _served(load: float, duration_s: float, **more: Any) -> tuple[BenchPlan, ServerRun]:
    """One instance that takes 10 ms a query, at ``load`` times what it can answer."""
    plan = _plan(target_qps=load / 0.01, duration_s=duration_s, **more)
    time = FakeTime(look_ns=20_000)
    return plan, answer_arrivals(plan, [time.runner("run", lambda _: 0.01)], time.clock)[1]


@pytest.mark.parametrize(("load", "duration_s"), [(0.5, 600.0), (0.8, 600.0)])
def test_the_queue_is_that_of_poisson_arrivals(load: float, duration_s: float) -> None:
    """M/D/1 waits load * S / (2 (1 - load)) on average, and the queue lasts from end to end of the run.

    A run of 600 s is 1,500 relaxation times at a load of 0.8: the mean is known to some 4 %.
    """
    plan = _plan(target_qps=load / 0.01, duration_s=duration_s, seed=7)
    time = FakeTime(look_ns=20_000)
    series, _ = answer_arrivals(plan, [time.runner("run", lambda _: 0.01)], time.clock)
    waited = series.latencies_ns.mean() * 1e-9 - 0.01
    assert waited == pytest.approx(load * 0.01 / (2 * (1 - load)), rel=0.12)


@pytest.mark.parametrize("duration_s", [5.0, 60.0])
@pytest.mark.parametrize("bound_ms", [60.0, 1e6])
def test_overload_fails_the_gate_whatever_the_bound_and_the_duration(
    duration_s: float, bound_ms: float
) -> None:
    plan, run = _served(1.05, duration_s, latency_bound_ms=bound_ms)
    assert not kept_up(run)
    (warning,) = server_warnings(plan, run)
    assert warning.startswith("It cannot keep up with 105 queries/s: it answers 99.8")
    (gate,) = server_gates(plan, run)
    assert (gate.name, gate.limit, gate.held) == ("qps", 105.0, False)
    assert gate.value == pytest.approx(100, rel=0.01)


def test_what_was_given_up_fails_the_gate() -> None:
    plan, run = _served(3.0, 2.0, latency_bound_ms=1e6)
    (warning,) = server_warnings(plan, run)
    assert f"{run.unanswered} of {run.queries} were given up: the latencies are lower bounds" in warning
    assert [gate.held for gate in server_gates(plan, run)] == [False]


def test_what_was_given_up_in_too_short_a_run_fails_the_gate() -> None:
    """Not overload: the queries of a moment, that came too close to its end."""
    plan = _plan(target_qps=50.0, duration_s=0.1, latency_bound_ms=1e6)
    run = ServerRun(queries=120, unanswered=1, p99_ms=50.0, queue=QueueLoad(100.0, 0.5, 0.04))
    (warning,) = server_warnings(plan, run)
    assert warning.endswith("queries/s: 1 of 120 were given up: the latencies are lower bounds.")
    assert [(gate.name, gate.held) for gate in server_gates(plan, run)] == [("duration", False)]


@pytest.mark.parametrize(("bound_ms", "held"), [(1e6, True), (11.0, False)])
def test_the_bound_is_judged_where_the_run_is_long_enough(bound_ms: float, held: bool) -> None:
    plan, run = _served(0.5, 5.0, latency_bound_ms=bound_ms)
    assert server_warnings(plan, run) == []
    (gate,) = server_gates(plan, run)
    assert (gate.name, gate.limit, gate.value, gate.held) == ("latency_bound_ms", bound_ms, run.p99_ms, held)


def test_near_its_limit_a_short_run_tests_no_bound() -> None:
    """At 95 % a queue settles within 8.2 s, and twenty times that is asked for."""
    plan, run = _served(0.95, 5.0, latency_bound_ms=1e3)
    (warning,) = server_warnings(plan, run)
    assert "At 95 % of what it can answer" in warning
    (gate,) = server_gates(plan, run)
    assert (gate.name, gate.value, gate.held) == ("duration", 5.0, False)
    assert gate.limit == 170


def test_a_bound_that_is_exceeded_even_so_is_told_as_such() -> None:
    plan, run = _served(0.95, 5.0, latency_bound_ms=11.0)
    assert [(gate.name, gate.held) for gate in server_gates(plan, run)] == [("latency_bound_ms", False)]


def test_too_few_queries_test_no_bound() -> None:
    """Fifty queries have no 99th percentile."""
    plan, run = _served(0.1, 5.0, latency_bound_ms=1e6)
    assert 0 < run.queries < 100
    (gate,) = server_gates(plan, run)
    assert (gate.name, gate.limit, gate.held) == ("duration", 13, False)


def test_no_query_tests_no_bound() -> None:
    plan, run = _served(0.1, 0.001, latency_bound_ms=5.0)
    assert run.queries == 0
    assert server_warnings(plan, run)[0].startswith("No query arrived")
    (gate,) = server_gates(plan, run)
    assert (gate.name, gate.limit, gate.held) == ("duration", 13, False)


@pytest.mark.parametrize("load", [0.5, 1.05])
def test_without_a_bound_there_is_no_gate(load: float) -> None:
    plan, run = _served(load, 5.0)
    assert server_gates(plan, run) == ()

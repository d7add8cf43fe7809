"""Whole benchmarks of the server scenario, short ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgecnn.artifact import Artifact
from edgecnn.bench import run_bench
from edgecnn.engines import Engine
from edgecnn.engines.choice import EngineChoice
from edgecnn.engines.fake import FakeEngine
from tests.bench.running import Make, constant, plan

pytestmark = pytest.mark.usefixtures("short_stages")


def test_a_server_below_its_load_answers_all(artifact: Make) -> None:
    (result,) = run_bench(
        plan(artifact(), scenario="server", target_qps=200.0, latency_bound_ms=1e6, duration_s=0.8)
    )
    assert result.scenario is not None
    assert (result.scenario.target_qps, result.scenario.latency_bound_ms) == (200.0, 1e6)
    assert result.latency_ms is not None
    assert result.latency_ms.samples is not None
    # Poisson, 160 expected: six standard deviations.
    assert 84 < result.latency_ms.samples < 236
    assert not any("keep up" in warning for warning in result.warnings)
    assert [gate.held for gate in result.gates] == [True]


def test_a_server_above_its_load_says_so(artifact: Make, opening: Callable[..., None]) -> None:
    def open_fake(choice: EngineChoice, model: Artifact) -> Engine:
        return FakeEngine(model.spec, constant, latency_s=lambda _: 0.01)

    opening(open_fake)
    (result,) = run_bench(
        plan(artifact(), scenario="server", target_qps=1000.0, latency_bound_ms=15.0, duration_s=0.4)
    )
    assert any("cannot keep up with 1000 queries/s" in warning for warning in result.warnings)
    assert [gate.held for gate in result.gates] == [False]
    assert result.throughput_per_s is not None
    assert result.throughput_per_s <= 101


def test_server_variants_run_one_after_the_other_and_have_no_ratio(artifact: Make) -> None:
    models = artifact("one"), artifact("other")
    results = run_bench(plan(*models, scenario="server", target_qps=200.0, duration_s=0.2))
    for result in results:
        assert (result.error, result.ratio) == (None, None)
        assert any("no ratio" in warning for warning in result.warnings)
        assert not any("Too few rounds" in warning for warning in result.warnings)
    first, second = (result.latency_ms for result in results)
    assert first is not None
    assert second is not None
    assert first.samples == second.samples  # the same arrivals


def test_a_server_whose_queue_grows_without_being_given_up_says_so(
    artifact: Make, opening: Callable[..., None]
) -> None:
    """It answers 100 a second at most, of 150."""

    def open_fake(choice: EngineChoice, model: Artifact) -> Engine:
        return FakeEngine(model.spec, constant, latency_s=lambda _: 0.01)

    opening(open_fake)
    (result,) = run_bench(plan(artifact(), scenario="server", target_qps=150.0, duration_s=1.6))
    assert any("cannot keep up with 150 queries/s" in warning for warning in result.warnings)


@pytest.mark.parametrize(("bound_ms", "held"), [(1e6, True), (1e-6, False)])
def test_a_bound_of_latency_is_a_gate(artifact: Make, bound_ms: float, held: bool) -> None:
    (result,) = run_bench(
        plan(artifact(), scenario="server", target_qps=400.0, latency_bound_ms=bound_ms, duration_s=0.5)
    )
    (gate,) = result.gates
    assert (gate.name, gate.limit, gate.held) == ("latency_bound_ms", bound_ms, held)
    assert result.latency_ms is not None
    assert gate.value >= result.latency_ms.p50


def test_without_a_bound_there_is_no_gate(artifact: Make) -> None:
    (result,) = run_bench(plan(artifact(), scenario="server", target_qps=400.0, duration_s=0.2))
    assert result.gates == ()

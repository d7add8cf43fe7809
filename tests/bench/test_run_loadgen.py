"""Whole benchmarks that LoadGen drives, short ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import Artifact
from edgecnn.bench import run_bench
from edgecnn.engines import Engine
from edgecnn.engines.choice import EngineChoice
from edgecnn.engines.fake import FakeEngine
from edgecnn.errors import ResultError
from edgecnn.reports.result import Result
from tests.bench.running import Make, constant, plan

pytestmark = pytest.mark.usefixtures("short_stages")


def test_a_folder_that_cannot_hold_loadgens_logs_is_told_before_anything_opens(
    artifact: Make, tmp_path: Path, opening: Callable[..., None]
) -> None:
    pytest.importorskip("mlperf_loadgen")
    (tmp_path / "a file").touch()

    def open_none(choice: EngineChoice, model: Artifact) -> Engine:
        raise AssertionError("nothing is opened")

    opening(open_none)
    with pytest.raises(ResultError, match=r"a file/logs cannot be written: Not a directory"):
        run_bench(plan(artifact(), driver="loadgen", logs=tmp_path / "a file" / "logs"))


@pytest.mark.parametrize("bound_ms", [None, 1e6])
def test_loadgen_tells_of_a_queue_that_grows(
    artifact: Make, tmp_path: Path, opening: Callable[..., None], bound_ms: float | None
) -> None:
    pytest.importorskip("mlperf_loadgen")
    opening(lambda choice, model: FakeEngine(model.spec, constant, latency_s=lambda _: 0.01))
    load: dict[str, Any] = {"driver": "loadgen", "scenario": "server", "target_qps": 200.0}
    (result,) = run_bench(plan(artifact(), logs=tmp_path, latency_bound_ms=bound_ms, duration_s=0.6, **load))
    assert result.error is None
    assert any("cannot keep up with 200 queries/s" in warning for warning in result.warnings)
    gates = [] if bound_ms is None else [("qps", False)]
    assert [(gate.name, gate.held) for gate in result.gates] == gates


def test_loadgen_keeps_its_logs_and_gives_its_figures(artifact: Make, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    logs = tmp_path / "logs"
    results: list[Result] = run_bench(
        plan(artifact("a"), artifact("b"), driver="loadgen", logs=logs, duration_s=0.1)
    )
    for result in results:
        assert result.error is None
        assert result.scenario is not None
        assert (result.scenario.driver, result.scenario.valid) == ("loadgen", False)
        assert result.scenario.logs is not None
        assert (Path(result.scenario.logs) / "mlperf_log_summary.txt").is_file()
        assert result.latency_ms is not None
        assert result.ratio is None
        assert any("takes turns" in warning for warning in result.warnings)
    assert len(list(logs.iterdir())) == 2


def test_loadgen_offline_has_throughput_and_no_latency(artifact: Make, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    (result,) = run_bench(
        plan(artifact(), driver="loadgen", logs=tmp_path, scenario="offline", batches=(8,), duration_s=0.1)
    )
    assert result.error is None
    assert result.latency_ms is None
    assert result.throughput_per_s is not None
    assert result.throughput_per_s > 0


def test_a_bound_that_loadgen_finds_exceeded_is_a_gate(artifact: Make, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    load: dict[str, Any] = {"driver": "loadgen", "scenario": "server", "target_qps": 200.0}
    (result,) = run_bench(plan(artifact(), logs=tmp_path, latency_bound_ms=1e-3, duration_s=1.0, **load))
    assert result.error is None
    assert [(gate.name, gate.held) for gate in result.gates] == [("latency_bound_ms", False)]

"""LoadGen itself, for a fraction of a second each, and what is read from its logs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest

from edgecnn.errors import EngineError
from edgecnn.timing.scenarios import ScenarioName

pytest.importorskip("mlperf_loadgen")
from edgecnn.timing import loadgen


def _settings(scenario: ScenarioName, logs: Path, **more: Any) -> loadgen.LoadgenSettings:
    return loadgen.LoadgenSettings(scenario=scenario, seconds=0.15, logs=logs, expected_per_s=500, **more)


def _sleep() -> None:
    time.sleep(0.002)


@pytest.mark.parametrize("scenario", ["single", "multi", "server"])
def test_the_scenarios_give_latencies_and_keep_their_logs(scenario: ScenarioName, tmp_path: Path) -> None:
    logs = tmp_path / "new" / "logs"
    bound = {"target_qps": 100.0, "latency_bound_ms": 1000.0} if scenario == "server" else {}
    found = loadgen.run_loadgen(_settings(scenario, logs, **bound), [_sleep])
    assert found.percentiles_ms[0.5] >= 2
    assert list(found.percentiles_ms.values()) == sorted(found.percentiles_ms.values())
    assert found.queries >= 1
    assert not found.compliant
    assert (logs / "mlperf_log_summary.txt").is_file()
    assert (logs / "mlperf_log_detail.txt").is_file()


def test_offline_gives_throughput_and_uses_every_instance(tmp_path: Path) -> None:
    threads: Counter[int] = Counter()

    def run() -> None:
        threads[get_ident()] += 1
        time.sleep(0.002)

    found = loadgen.run_loadgen(_settings("offline", tmp_path, batch=4), [run, run])
    assert found.percentiles_ms == {}
    assert found.queries >= 75
    assert sum(threads.values()) == -(-found.queries // 4)
    assert len(threads) == 2
    assert found.samples_per_s > 0


@pytest.mark.parametrize("scenario", ["single", "offline"])
def test_an_error_while_it_runs_comes_out(scenario: ScenarioName, tmp_path: Path) -> None:
    def fail() -> None:
        raise EngineError("The engine is broken.", "Mend it.")

    with pytest.raises(EngineError, match="broken"):
        loadgen.run_loadgen(_settings(scenario, tmp_path), [fail])


def test_without_the_package_the_error_names_its_extra() -> None:
    script = (
        "import sys\n"
        "sys.modules['mlperf_loadgen'] = None\n"
        "from edgecnn.errors import DependencyMissingError\n"
        "try:\n"
        "    import edgecnn.timing.loadgen\n"
        "except DependencyMissingError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'edgecnn[mlperf]'" in done.stdout

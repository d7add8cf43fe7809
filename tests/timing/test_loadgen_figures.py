"""What is read from LoadGen's logs; LoadGen itself is not needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecnn.errors import EngineError
from edgecnn.timing.loadgen_figures import read_figures

_LOG = """\
:::MLLOG {"key": "result_query_count", "value": 500, "time_ms": 1.0}
:::MLLOG {"key": "result_completed_samples_per_sec", "value": 89.5}
:::MLLOG {"key": "result_50.00_percentile_latency_ns", "value": 2000000}
:::MLLOG {"key": "result_90.00_percentile_latency_ns", "value": 4000000}
:::MLLOG {"key": "result_95.00_percentile_latency_ns", "value": 5000000}
:::MLLOG {"key": "result_99.00_percentile_latency_ns", "value": 6000000}
:::MLLOG {"key": "result_99.90_percentile_latency_ns", "value": 7000000}
:::MLLOG {"key": "result_invalid_reason", "value": "Reduce target QPS to improve latency. "}
:::MLLOG {"key": "result_validity", "value": "INVALID"}
"""


def test_figures_are_read_from_the_log(tmp_path: Path) -> None:
    (tmp_path / "mlperf_log_detail.txt").write_text(_LOG)
    found = read_figures(tmp_path, "server", 600.0)
    assert found.percentiles_ms == pytest.approx({0.5: 2, 0.9: 4, 0.95: 5, 0.99: 6, 0.999: 7})
    assert found.queries == 500
    assert found.samples_per_s == 89.5
    assert (found.accepted, found.compliant) == (False, False)
    assert found.reason == "Reduce target QPS to improve latency."


def test_a_run_that_is_long_enough_and_valid_is_compliant(tmp_path: Path) -> None:
    text = _LOG.replace("INVALID", "VALID").replace('"value": 500', '"value": 700')
    (tmp_path / "mlperf_log_detail.txt").write_text(text)
    assert read_figures(tmp_path, "server", 600.0).compliant
    assert not read_figures(tmp_path, "server", 599.0).compliant


@pytest.mark.parametrize("text", ["", ":::MLLOG {broken", ':::MLLOG {"key": "x"}', _LOG[:300]])
def test_logs_without_figures_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "mlperf_log_detail.txt").write_text(text)
    with pytest.raises(EngineError, match="hold no figures"):
        read_figures(tmp_path, "server", 1.0)


def test_missing_logs_are_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="hold no figures"):
        read_figures(tmp_path / "none", "single", 1.0)

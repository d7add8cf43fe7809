"""What LoadGen wrote of a run.

Read are the ``result_`` entries of ``mlperf_log_detail.txt``: the figures that ``mlperf_log_summary.txt``
words for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.errors import EngineError
from edgecnn.timing.scenarios import MULTI_STREAM_SAMPLES, ScenarioName, long_enough

__all__ = ["LoadgenFigures", "read_figures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadgenFigures:
    """What LoadGen found.

    Attributes:
        percentiles_ms: latency of a query by share, 0.5 to 0.999; empty in the offline scenario, where all
            are sent at once.
        queries: that were answered; of the offline scenario, samples.
        samples_per_s: completed.
        accepted: whether LoadGen calls the run valid under the durations and counts that it was given.
        compliant: whether it does, and the rules' own duration and count were reached.
        reason: what LoadGen says of a run that is not valid; empty for nothing.
    """

    percentiles_ms: dict[float, float]
    queries: int
    samples_per_s: float
    accepted: bool
    compliant: bool
    reason: str = ""


def read_figures(folder: Path, scenario: ScenarioName, seconds: float) -> LoadgenFigures:
    """The figures in the logs of a run that was to last ``seconds``.

    Raises:
        EngineError: the logs are missing, or hold no result.
    """
    try:
        with (folder / "mlperf_log_detail.txt").open(encoding="utf-8") as file:
            entries = _entries(file)
        return _figures(entries, scenario, seconds)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise EngineError(
            f"LoadGen's logs in {folder} hold no figures of the {scenario} scenario: {error}.",
            "Look into mlperf_log_summary.txt there; or use the driver 'built-in'.",
        ) from error


def _entries(lines: Iterable[str]) -> dict[str, Any]:
    """Value by key; the last counts."""
    parsed = (json.loads(line.partition(" ")[2]) for line in lines if line.startswith(":::MLLOG"))
    return {entry["key"]: entry["value"] for entry in parsed}


def _figures(entries: dict[str, Any], scenario: ScenarioName, seconds: float) -> LoadgenFigures:
    queries, rate = int(entries["result_query_count"]), _samples_per_s(entries, scenario)
    if scenario == "offline":
        queries = int(entries["generated_samples_per_query"])
    kind = "per_query_latency_ns" if scenario == "multi" else "latency_ns"
    shares = () if scenario == "offline" else (0.5, 0.9, 0.95, 0.99, 0.999)
    accepted = entries["result_validity"] == "VALID"
    return LoadgenFigures(
        percentiles_ms={
            share: 1e-6 * entries[f"result_{100 * share:.2f}_percentile_{kind}"] for share in shares
        },
        queries=queries,
        samples_per_s=rate,
        accepted=accepted,
        compliant=accepted and long_enough(scenario, seconds, queries),
        reason=" ".join(str(entries.get("result_invalid_reason", "")).split()),
    )


def _samples_per_s(entries: dict[str, Any], scenario: ScenarioName) -> float:
    if scenario == "single":
        return float(entries["result_qps_with_loadgen_overhead"])
    if scenario == "multi":
        return 1e9 * MULTI_STREAM_SAMPLES / float(entries["result_mean_query_latency_ns"])
    key = "result_samples_per_second" if scenario == "offline" else "result_completed_samples_per_sec"
    return float(entries[key])

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgecnn.cli import main
from edgecnn.environment import describe_environment
from edgecnn.reports import result as schema
from edgecnn.reports.result_file import write_results

Pick = Callable[..., Result]
ENVIRONMENT = describe_environment(())


def _variant(precision: str, **other: Any) -> schema.Variant:
    return schema.Variant(
        network="net",
        artifact=f"net.{precision}.onnx",
        sha256=precision,
        precision=precision,  # type: ignore[arg-type]
        engine="ort",
        **{"batch": 1, "threads": 2, **other},
    )


def _write(path: Path, *results: schema.Result) -> Path:
    write_results(schema.ResultFile(environment=ENVIRONMENT, results=results), path)
    return path


def _timed(precision: str, p90: float, peak: int) -> schema.Result:
    return schema.Result(
        variant=_variant(precision),
        latency_ms=schema.LatencyMs(p50=p90 / 2, p90=p90),
        memory_bytes=schema.MemoryBytes(peak=peak, file=1_000_000),
    )


def _right(precision: str, top1: float) -> schema.Result:
    accuracy = schema.Accuracy(n=100, top1=top1, top1_ci95=(top1 - 9, top1 + 9))
    return schema.Result(variant=_variant(precision, batch=8), accuracy=accuracy)


@pytest.fixture
def pick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pick:
    """Runs the command in a folder that holds what ``bench`` and ``validate`` wrote."""
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "bench.json", _timed("fp32", 10, 90_000_000), _timed("int8", 4, 50_000_000))
    _write(tmp_path / "validate.json", _right("fp32", 71.0), _right("int8", 69.5))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["pick", *arguments])

    return run


BOTH = ("bench.json", "validate.json")


def test_files_of_two_commands_are_joined_and_the_choice_is_explained(pick: Pick) -> None:
    done = pick(*BOTH, "--max-drop", "1")
    assert done.exit_code == 0, done.output
    assert "Ship net fp32 ort, batch 1, 2 threads: latency (p90) 10 ms." in done.stdout
    assert "--max-drop 1: costs 6 ms of latency (p90); without it: net int8 ort" in done.stdout
    assert "(top-1 drop against fp32 1.5 points)" in done.stdout
    assert "it is the only one that holds --max-drop 1; there is no runner-up" in done.stdout
    assert "71.00" in done.stdout


def test_the_objective_and_the_percentile_are_the_users(pick: Pick) -> None:
    done = pick(*BOTH, "--max-latency-ms", "5", "--percentile", "p50", "--objective", "accuracy")
    assert "Ship net fp32 ort" in done.stdout
    assert pick("bench.json").stdout.startswith("Ship net int8 ort")


def test_when_nothing_fits_it_exits_with_3_and_names_the_nearest_miss(pick: Pick) -> None:
    done = pick(*BOTH, "--max-latency-ms", "5", "--min-top1", "70")
    assert done.exit_code == 3
    assert "None of 2 variants holds --max-latency-ms 5, --min-top1 70." in done.stderr
    assert "Nearest: net int8 ort" in done.stderr
    assert "0.5 points beyond --min-top1 70" in done.stderr
    assert "Relax --max-latency-ms or --min-top1 alone" in done.stderr
    assert "--max-latency-ms 5: if it alone were 10 ms, net fp32 ort" in done.stdout


def test_a_missing_figure_is_said(pick: Pick) -> None:
    done = pick("bench.json", "--min-top1", "50")
    assert done.exit_code == 3
    assert "not measured: top-1" in done.stdout
    assert "Nearest" not in done.stderr
    assert "Measure what is missing: edgecnn bench" in done.stderr


def test_json_says_all_of_it(pick: Pick) -> None:
    done = pick(*BOTH, "--max-drop", "1", "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == "edgecnn.pick/1"
    assert document["pick"]["result"]["variant"]["precision"] == "fp32"
    assert document["limits"] == {"max_drop": 1.0}
    assert document["costs"] == [
        {"limit": "max_drop", "without": "net int8 ort, batch 1, 2 threads", "gain": 6.0, "needed": 1.5}
    ]
    nothing = pick(*BOTH, "--max-memory-mb", "1", "--json")
    assert nothing.exit_code == 3
    found = json.loads(nothing.stdout)
    assert (found["pick"], found["nearest"]["misses"][0]["excess"]) == (None, 49.0)


def test_without_a_name_the_results_of_the_last_compare_are_read(pick: Pick, tmp_path: Path) -> None:
    missing = pick()
    assert missing.exit_code == 2
    assert "there is no comparison/results.json" in missing.stderr
    (tmp_path / "comparison").mkdir()
    _write(tmp_path / "comparison" / "results.json", _timed("bf16", 1, 1))
    assert "Ship net bf16 ort" in pick().stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-latency-ms", "0"),
        ("--max-memory-mb", "-1"),
        ("--max-drop", "-0.1"),
        ("--min-top1", "101"),
        ("--objective", "beauty"),
        ("--percentile", "p42"),
        *(
            (f"--{name}", text)
            for name in ("max-latency-ms", "max-memory-mb", "max-drop", "min-top1", "max-size-mb")
            for text in ("nan", "inf")
        ),
    ],
)
def test_a_limit_that_makes_no_sense_is_a_usage_error(arguments: tuple[str, str], pick: Pick) -> None:
    assert pick(*BOTH, *arguments).exit_code == 2


def test_a_file_of_another_version_is_refused_with_both_versions(pick: Pick, tmp_path: Path) -> None:
    text = (tmp_path / "bench.json").read_text(encoding="utf-8")
    (tmp_path / "bench.json").write_text(text.replace("result/1", "result/9"), encoding="utf-8")
    done = pick("bench.json")
    assert done.exit_code == 1
    assert "'edgecnn.result/9'" in done.stderr
    assert "'edgecnn.result/1'" in done.stderr


def test_files_of_one_network_and_precision_are_told_apart(pick: Pick, tmp_path: Path) -> None:
    one, other = (
        schema.Result(
            variant=replace(_variant("int8"), artifact=f"out/net-{recipe}.onnx", sha256=recipe),
            latency_ms=schema.LatencyMs(p50=p90 / 2, p90=p90),
        )
        for recipe, p90 in (("minmax", 5.25), ("auto", 4.75))
    )
    _write(tmp_path / "recipes.json", one, other)
    done = pick("recipes.json")
    assert "Ship net (net-auto) int8 ort, batch 1, 2 threads" in done.stdout
    assert "Its file: out/net-auto.onnx" in done.stdout
    assert "Runner-up: net (net-minmax) int8 ort" in done.stdout
    table = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert ["net-auto" in table[0], "net-minmax" in table[1], len(table)] == [True, True, 2]


def test_rows_of_equal_titles_are_all_shown(pick: Pick, tmp_path: Path) -> None:
    one = _timed("int8", 5.25, 1)
    scenario = schema.Scenario(name="server", driver="built-in", duration_s=1.0, target_qps=5, instances=2)
    again = replace(one, scenario=scenario), replace(one, scenario=replace(scenario, instances=1))
    _write(tmp_path / "instances.json", *again)
    table = [line for line in pick("instances.json").stdout.splitlines() if line.startswith("│")]
    assert len(table) == 2

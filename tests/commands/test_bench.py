"""``edgecnn bench`` at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgecnn.bench import BenchPlan, stages
from edgecnn.cli import main
from edgecnn.commands import bench as bench_command
from edgecnn.reports import result as schema
from edgecnn.reports.result_file import decode_results, read_results

Make = Callable[..., Path]


def _bench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


def _rows(result: Result) -> list[list[str]]:
    """The cells of all table rows."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def _quick(*arguments: str | Path) -> Result:
    return _bench("--duration", "0.05", "--no-memory", "--threads", "1", *arguments)


@pytest.fixture(autouse=True)
def short_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_SECONDS", 0.005)


def test_json_goes_to_standard_output_and_to_a_file(reader: Make, tmp_path: Path) -> None:
    output = tmp_path / "r.json"
    result = _quick(reader(), "--batch", "1,2", "--json", "-o", output)
    assert result.exit_code == 0, result.output
    document = decode_results(result.stdout, origin="standard output")
    assert read_results(output) == document
    assert [each.variant.batch for each in document.results] == [1, 2]
    assert document.results[1].ratio is not None
    assert document.environment.cores >= 1


def test_what_was_not_measured_is_left_out_of_the_json(reader: Make) -> None:
    (only,) = json.loads(_quick(reader(), "--json").stdout)["results"]
    assert not {"ratio", "error", "accuracy"} & set(only)
    assert set(only["memory_bytes"]) == {"file"}
    assert "copy" not in only["stages_ms"]


def test_an_engine_that_does_not_open_is_named_and_the_exit_code_is_1(reader: Make) -> None:
    static = reader("static.onnx", batch=1)
    result = _quick(static, reader(), "--batch", "8")
    assert result.exit_code == 1
    assert "is fixed to a batch of 1, and a batch of 8 was asked for" in result.stderr
    assert "--batch dynamic" in result.stderr
    (speed, _) = _rows(result)
    assert speed[0] == "reader"


def test_a_plugin_that_does_not_load_is_named_the_others_are_measured_and_the_exit_code_is_1(
    reader: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_bench_plugin.py").write_text("import no_such_library_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    result = _quick(reader(), "--engine", "ort,broken_bench_plugin:Engine")
    assert result.exit_code == 1
    assert "does not load: ModuleNotFoundError: No module named 'no_such_library_at_all'" in result.stderr
    (speed, _) = _rows(result)
    assert speed[0] == "reader"


def test_a_plugin_is_called_what_it_was_asked_for_by(
    reader: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_ort_plugin.py").write_text(
        "from edgecnn.engines.ort import OrtEngine\n\n\nclass Mine(OrtEngine):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    output = tmp_path / "r.json"
    result = _quick(reader(), "--engine", "own_ort_plugin:Mine,ort", "-o", output)
    assert result.exit_code == 0, result.output
    results = read_results(output).results
    assert [each.variant.engine for each in results] == ["own_ort_plugin:Mine", "ort"]
    assert results[1].ratio is not None
    assert results[1].ratio.baseline == "reader fp32 own_ort_plugin:Mine, batch 1, 1 thread"
    assert [row[1] for row in _rows(result)][:2] == ["own_ort_plugin:Mine", "ort"]


def test_an_unknown_engine_is_wrong_usage_and_the_engines_are_listed(reader: Make) -> None:
    result = _bench(reader(), "--engine", "tflite")
    assert result.exit_code == 2
    assert "There is no engine named 'tflite'" in result.stderr
    assert "openvino" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--duration", "0"),
        ("--duration", "-1"),
        ("--duration", "nan"),
        ("--batch", "0"),
        ("--batch", "1;8"),
        ("--threads", "none"),
        ("--scenario", "server"),
        ("--scenario", "server", "--qps", "0"),
        ("--scenario", "burst"),
        ("--qps", "5"),
        ("--driver", "loadgen"),
        ("--instances", "0"),
        ("--engine", "ort:threads=0"),
        ("--engine", "ort:unknown=1"),
        ("--engine", "ort,my.plug:"),
        ("--baseline", "nothing like it"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(reader: Make, arguments: tuple[str, ...]) -> None:
    assert _bench(reader(), *arguments).exit_code == 2


def _measured(network: str, **more: object) -> schema.Result:
    fields: dict[str, object] = {
        "variant": schema.Variant(
            network=network,
            artifact=f"{network}.onnx",
            sha256="0",
            precision="fp32",
            engine="ort",
            batch=1,
            threads=2,
        ),
        "scenario": schema.Scenario(name="single", driver="built-in", duration_s=5.0),
        "latency_ms": schema.LatencyMs(
            p50=4.0, p90=4.4, ci95=schema.PercentilesCi95(p50=(3.96, 4.02)), samples=90
        ),
        "throughput_per_s": 248.26,
        "stages_ms": schema.StagesMs(preprocess=0.8123, run=4.0, postprocess=0.02),
        "energy_note": "there is no counter",
    }
    return schema.Result(**{**fields, **more})  # type: ignore[arg-type]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the benchmark return these."""

    def give(*found: schema.Result) -> None:
        def run_bench(plan: BenchPlan, observe: Callable[[str, float], None]) -> list[schema.Result]:
            return list(found)

        monkeypatch.setattr(bench_command, "run_bench", run_bench)

    return give


def test_the_tables_show_figures_and_leave_out_what_there_is_not(
    reader: Make, results: Callable[..., None]
) -> None:
    name = "one fp32 ort, batch 1, 2 threads"
    ratio = schema.Ratio(baseline=name, speedup=1.5, ci95=(1.4, 1.6), distinct=True)
    same = schema.Ratio(baseline=name, speedup=1.001, ci95=(0.99, 1.01), distinct=False)
    memory = schema.MemoryBytes(file=14_000_000, peak=52_340_000)
    results(
        _measured("one"),
        _measured("two", ratio=ratio, memory_bytes=memory),
        _measured("three", ratio=same),
        _measured("four", stages_ms=None),
    )
    result = _bench(reader())
    assert result.exit_code == 0
    assert _rows(result) == [
        ["one", "4.00", "1.0", "4.40", "-", "248.3", "1"],
        ["two", "4.00", "1.0", "4.40", "-", "248.3", "1.50 (1.40-1.60)"],
        ["three", "4.00", "1.0", "4.40", "-", "248.3", "1.00 (0.99-1.01) ~"],
        ["four", "4.00", "1.0", "4.40", "-", "248.3", "-"],  # too few rounds to compare it
        ["one", "0.812", "4.00", "0.020", "-", "-"],
        ["two", "0.812", "4.00", "0.020", "14.0", "52.3"],
        ["three", "0.812", "4.00", "0.020", "-", "-"],
        ["four", "-", "-", "-", "-", "-"],
    ]
    assert "Single stream, ort, fp32, batch 1, 2 threads." in result.stdout
    assert "Energy was not measured: there is no counter." in result.stdout
    assert "J/image" not in result.stdout
    assert "copy" not in result.stdout
    assert "Not a run that complies with MLPerf's rules" in result.stdout


def test_a_table_of_four_variants_fits_100_columns(reader: Make, results: Callable[..., None]) -> None:
    ratio = schema.Ratio(baseline="shufflenet_v2_x1_0", speedup=1.5, ci95=(1.4, 1.6), distinct=False)
    latency = schema.LatencyMs(p50=14.0, p90=14.4, p99=99.9, ci95=schema.PercentilesCi95(p50=(13.0, 15.0)))
    results(
        *(
            _measured(
                "shufflenet_v2_x1_0",
                ratio=ratio,
                latency_ms=latency,
                variant=schema.Variant(
                    network="shufflenet_v2_x1_0",
                    artifact="shufflenet_v2_x1_0.onnx",
                    sha256="0",
                    precision="fp32",
                    engine=engine,
                    batch=1,
                    threads=1,
                ),
            )
            for engine in ("ort", "openvino")
        )
    )
    lines = _bench(reader()).stdout.splitlines()
    assert max(len(line) for line in lines if line.startswith(("│", "┃"))) <= 100


def test_files_of_one_network_are_told_apart(reader: Make, results: Callable[..., None]) -> None:
    one = _measured("net").variant
    results(
        *(_measured("net", variant=replace(one, artifact=f"net-{name}.onnx")) for name in ("minmax", "auto"))
    )
    assert [row[0] for row in _rows(_bench(reader()))][:2] == ["net (net-minmax)", "net (net-auto)"]


def test_a_warning_that_all_share_is_told_once(reader: Make, results: Callable[..., None]) -> None:
    results(_measured("one", warnings=("noisy", "mine")), _measured("two", warnings=("noisy",)))
    lines = _bench(reader()).stderr.splitlines()
    assert lines == ["Warning: noisy", "Warning: one fp32 ort, batch 1, 2 threads: mine"]


@pytest.mark.parametrize(
    ("instances", "peak", "words"),
    [
        (1, 5_000_000, "milliseconds of each stage; memory above that of an empty process."),
        (2, 5_000_000, "memory above that of an empty process, of one of 2 instances."),
        (2, None, "milliseconds of each stage."),
    ],
)
def test_the_table_says_what_the_memory_is_of(
    reader: Make, results: Callable[..., None], instances: int, peak: int | None, words: str
) -> None:
    scenario = schema.Scenario(name="offline", driver="built-in", duration_s=5.0, instances=instances)
    results(_measured("one", scenario=scenario, memory_bytes=schema.MemoryBytes(file=1_000_000, peak=peak)))
    assert words in " ".join(_bench(reader()).stdout.split())


def _gated(network: str, value: float, **more: object) -> schema.Result:
    gate = schema.Gate(name="latency_bound_ms", limit=1.0, value=value, held=value <= 1.0)
    return _measured(network, gates=(gate,), **more)


def test_a_bound_that_did_not_hold_exits_with_3_and_is_named(
    reader: Make, results: Callable[..., None]
) -> None:
    results(_gated("one", 0.5), _gated("two", 131.16))
    result = _bench(reader())
    assert result.exit_code == 3
    assert "two fp32 ort, batch 1, 2 threads: The 99th percentile of latency is 131.16 ms" in result.stderr
    assert "--latency-bound-ms allows 1." in result.stderr
    assert "one fp32 ort" not in result.stderr
    assert "two" in result.stdout


def test_a_bound_that_was_not_tested_exits_with_3_and_asks_for_a_longer_run(reader: Make) -> None:
    load = ("--scenario", "server", "--qps", "10", "--latency-bound-ms", "5")
    result = _quick(reader(), *load, "--duration", "0.001")
    assert result.exit_code == 3
    assert "--latency-bound-ms was not tested: give it a --duration of at least 13 s." in result.stderr
    assert "Measure for longer (--duration), or at another --qps." in result.stderr
    assert "Send fewer queries" not in result.stderr


def test_a_bound_that_held_exits_with_0(reader: Make, results: Callable[..., None]) -> None:
    results(_gated("one", 0.5))
    assert _bench(reader()).exit_code == 0


def test_what_could_not_be_measured_weighs_more_than_a_bound(
    reader: Make, results: Callable[..., None]
) -> None:
    results(_gated("two", 2.0), schema.Result(variant=_measured("one").variant, error="It broke."))
    result = _bench(reader())
    assert result.exit_code == 1
    assert "--latency-bound-ms allows 1." in result.stderr


def test_energy_is_shown_where_it_was_read(reader: Make, results: Callable[..., None]) -> None:
    results(_measured("one", energy_j_per_image=0.0456, energy_note="RAPL"))
    result = _bench(reader())
    assert _rows(result)[-1][-1] == "0.0456"
    assert "Energy: RAPL." in result.stdout


def test_a_compliant_run_is_not_called_anything_else(reader: Make, results: Callable[..., None]) -> None:
    scenario = schema.Scenario(name="offline", driver="loadgen", duration_s=600, valid=True, instances=2)
    results(_measured("one", scenario=scenario, latency_ms=None))
    result = _bench(reader())
    assert "Not a run" not in result.stdout
    assert "Offline by LoadGen on 2 instances" in result.stdout


def test_nothing_measured_is_no_table(reader: Make, results: Callable[..., None]) -> None:
    results(schema.Result(variant=_measured("one").variant, error="It broke.\nMend it."))
    result = _bench(reader())
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Error: one fp32 ort, batch 1, 2 threads: It broke.\nMend it." in result.stderr


def test_the_plan_is_what_was_asked_for(
    reader: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plans: list[BenchPlan] = []

    def run_bench(plan: BenchPlan, observe: object) -> list[schema.Result]:
        plans.append(plan)
        return []

    monkeypatch.setattr(bench_command, "run_bench", run_bench)
    logs = ("--driver", "loadgen", "--logs", tmp_path)
    load = ("--scenario", "server", "--qps", "50", "--latency-bound-ms", "15", "--instances", "2")
    result = _bench(reader(), "--engine", "ort", "--engine", "torch", "--threads", "1", *load, *logs)
    assert result.exit_code == 0, result.output
    (plan,) = plans
    assert [engine.name for engine in plan.engines] == ["ort", "torch"]
    assert (plan.scenario, plan.target_qps, plan.latency_bound_ms) == ("server", 50, 15)
    assert (plan.instances, plan.driver, plan.logs) == (2, "loadgen", tmp_path)
    assert (plan.threads, plan.memory, plan.duration_s) == ((1,), True, 5.0)

"""``edgecnn compare`` at the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgecnn.artifact import Artifact, open_artifact, read_onnx, save_artifact
from edgecnn.bench import BenchPlan
from edgecnn.cli import main
from edgecnn.commands import compare as compare_command
from edgecnn.commands.model_argument import ModelOptions
from edgecnn.compare import artifacts, matrix
from edgecnn.errors import ExportError, WeightsError
from edgecnn.quantize import guards
from edgecnn.reports import html
from edgecnn.reports import result as schema
from edgecnn.reports.result_file import decode_results, read_results, write_results

Make = Callable[..., Path]

REAL_PAGE = html.write_page


@dataclass
class Stubs:
    """What stands for the parts that take long.

    Attributes:
        p50: median latency, in milliseconds, that a benchmark finds.
        spread: the 90th percentile over the median.
        measured: how many benchmarks ran.
        exported: (network, weights) of each network that was given by name.
        refuse: network -> why it is not exported.
    """

    artifact: Path
    p50: float = 10.0
    spread: float = 1.1
    measured: int = 0
    exported: list[tuple[str, str | None]] = field(default_factory=list)
    refuse: dict[str, Exception] = field(default_factory=dict)

    def quantise(
        self, base: Artifact, _settings: object, _sources: object, path: Path, **_observe: object
    ) -> SimpleNamespace:
        model = read_onnx(base.path)
        (classes,) = [each for each in model.graph.initializer if each.name == "classes"]
        numbers = np.frombuffer(classes.raw_data, np.float32).copy()
        numbers[7] += 50  # the quantised one takes 7 for another class
        classes.raw_data = numbers.tobytes()
        return SimpleNamespace(artifact=save_artifact(model, replace(base.spec, precision="int8"), path))

    def bench(self, plan: BenchPlan, *_observe: object) -> list[schema.Result]:
        self.measured += 1
        latency = schema.LatencyMs(
            p50=self.p50,
            p90=self.spread * self.p50,
            ci95=schema.PercentilesCi95(p50=(0.99 * self.p50, 1.01 * self.p50)),
            quantiles=tuple(np.linspace(self.p50, 1.2 * self.p50, 101).tolist()),
        )
        return [
            schema.Result(
                variant=schema.Variant(
                    network=each.artifact.spec.network,
                    artifact=str(each.artifact.path),
                    sha256=each.artifact.sha256(),
                    precision=each.artifact.spec.precision,
                    engine=each.choice.name,
                    batch=each.batch,
                    threads=1,
                ),
                latency_ms=latency,
            )
            for each in plan.variants
        ]

    def resolve(self, name: str, options: ModelOptions, _announce: object) -> Artifact:
        if Path(name).is_file():
            assert options.weights is None
            return open_artifact(Path(name))
        self.exported.append((name, options.weights))
        if error := self.refuse.get(name):
            raise error
        artifact = open_artifact(self.artifact)
        return replace(artifact, spec=replace(artifact.spec, network=name))


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch, reader: Make) -> Stubs:
    found = Stubs(reader("stub.onnx"))
    monkeypatch.setattr(artifacts, "quantize_artifact", found.quantise)
    monkeypatch.setattr(matrix, "run_bench", found.bench)
    monkeypatch.setattr(compare_command, "resolve_model", found.resolve)
    monkeypatch.setattr(html, "write_page", lambda *_: None)  # the real one takes a second
    monkeypatch.setattr(guards, "require_disjoint", lambda *_: ())  # nothing is calibrated by stubs
    return found


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def _compare(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def test_accuracy_is_not_measured_on_the_images_that_set_the_ranges(reader: Make, folder: Make) -> None:
    result = _compare(reader(), "--data", folder([1, 2, 7]))
    assert result.exit_code == 1
    assert "the accuracy would say nothing of new images" in result.stderr


def test_the_table_and_all_files(
    stubs: Stubs, reader: Make, folder: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "write_page", REAL_PAGE)
    result = _compare(reader(), "--data", folder([1, 2, 7]))
    assert result.exit_code == 0, result.output
    assert result.stdout.count("reader") >= 2
    assert "Reports: comparison/results.json" in result.stdout
    output = place / "comparison"
    document = read_results(output / "results.json")
    assert [each.variant.precision for each in document.results] == ["fp32", "int8"]
    assert [each.accuracy and round(each.accuracy.top1) for each in document.results] == [100, 67]
    assert len((output / "results.csv").read_text().splitlines()) == 3
    assert "int8" in (output / "results.md").read_text()
    page = (output / "report.html").read_text()
    assert "data:image/jpeg;base64," in page  # the image that the quantised network lost


def test_json_is_the_document_alone(stubs: Stubs, reader: Make, folder: Make, place: Path) -> None:
    result = _compare(reader(), "--data", folder([1, 2]), "--precision", "fp32,bf16", "--json", "-v")
    assert result.exit_code == 0, result.output
    document = decode_results(result.stdout, origin="standard output")
    assert document == read_results(place / "comparison" / "results.json")
    assert "Left out: bf16 in ort: only OpenVINO computes in bfloat16 here" in result.stderr


def test_a_failure_is_told_in_json_too(stubs: Stubs, reader: Make, folder: Make) -> None:
    stubs.refuse["resnet18"] = ExportError("It does not export.", "Try another.")
    result = _compare(reader(), "resnet18", "--weights", "random", "--data", folder([1]), "--json")
    assert result.exit_code == 1
    assert [each.error is None for each in decode_results(result.stdout, origin="-").results] == [
        True,
        True,
        False,
        False,
    ]
    assert "It does not export." in result.stderr


def test_a_network_that_does_not_export_is_named_and_the_others_go_on(
    stubs: Stubs, reader: Make, folder: Make
) -> None:
    stubs.refuse["resnet18"] = WeightsError("There are no weights.", "Get some.")
    result = _compare("resnet18", reader(), "--weights", "pretrained", "--data", folder([1]))
    assert result.exit_code == 1
    assert "Failed: resnet18 fp32 ort, batch 1: There are no weights. Get some." in result.stdout
    assert "Failed: resnet18 int8 ort, batch 1: There are no weights. Get some." in result.stdout
    assert "│" in result.stdout
    assert stubs.measured == 1


def test_accuracy_that_cannot_be_measured_is_told_with_the_speed(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    data = tmp_path / "pets.npz"
    np.savez(data, x_test=np.zeros((2, 4, 4, 3), np.uint8), y_test=[0, 1], classes=["cat", "dog"])
    result = _compare(reader(), "--data", data, "--calib", folder([1, 2]))
    assert result.exit_code == 1
    assert "Warning: The accuracy of" in result.stderr
    assert "no class 'cat', 'dog'" in result.stderr
    assert "10.0" in result.stdout


def test_a_second_run_measures_nothing_unless_it_shall(stubs: Stubs, reader: Make, folder: Make) -> None:
    arguments = (reader(), "--data", folder([1, 2]))
    first, second = _compare(*arguments, "--json"), _compare(*arguments, "--json")
    again = json.loads(second.stdout)["results"]
    for result in again:
        assert "from an earlier run" in result["warnings"].pop()
    assert json.loads(first.stdout)["results"] == again
    assert stubs.measured == 1
    _compare(*arguments, "--fresh")
    assert stubs.measured == 2


@pytest.mark.parametrize(
    ("flags", "said"), [((), "The same command"), (("--fresh",), "Without --fresh, the same command")]
)
def test_an_interrupted_run_says_how_it_goes_on(
    stubs: Stubs,
    reader: Make,
    folder: Make,
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    said: str,
) -> None:
    def interrupted(*_: object) -> list[schema.Result]:
        raise KeyboardInterrupt

    monkeypatch.setattr(matrix, "run_bench", interrupted)
    result = _compare(reader(), "--data", folder([1, 2]), "-o", "out", *flags)
    assert result.exit_code == 1
    assert "Aborted!" in result.stderr
    assert f"What is done so far is in out. {said}" in result.stderr


def test_what_got_slower_than_the_baseline_exits_with_3(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    arguments = (reader(), "--data", folder([1, 2]))
    baseline = ("--baseline", "old/results.json", "--fresh")
    assert _compare(*arguments, "-o", "old").exit_code == 0
    same = _compare(*arguments, *baseline)
    assert same.exit_code == 0, same.output
    assert "Nothing got worse than the baseline in 2 variants: accuracy of 2, latency of 2." in same.stderr
    stubs.p50 = 12
    slower = _compare(*arguments, *baseline)
    assert slower.exit_code == 3
    assert "latency p50 10 ms -> 12 ms (+20.0 %)" in slower.stderr
    assert "figures of 2 variants are worse than in the baseline" in slower.stderr
    assert "Reports:" in slower.stdout
    stubs.p50 = 8
    assert _compare(*arguments, *baseline).exit_code == 0


def test_a_drop_beyond_the_limit_names_the_cell_and_exits_with_3(
    stubs: Stubs, reader: Make, folder: Make, place: Path
) -> None:
    arguments = (reader(), "--data", folder([7, 7, 7, 1] * 12))
    result = _compare(*arguments)
    assert result.exit_code == 3
    assert "reader int8 ort, batch 1, 1 thread: Top-1 is 75.00 points below the float" in result.stderr
    assert "--max-drop allows 0.5." in result.stderr
    assert "Error: 1 variant lost more top-1 than --max-drop allows." in result.stderr
    assert "Reports:" in result.stdout
    document = read_results(place / "comparison" / "results.json")
    assert [[gate.held for gate in each.gates] for each in document.results] == [[], [False]]
    assert "--max-drop allows 0.5" in (place / "comparison" / "results.csv").read_text()
    assert _compare(*arguments, "--max-drop", "80").exit_code == 0


def test_a_drop_that_chance_explains_is_told_and_passes(stubs: Stubs, reader: Make, folder: Make) -> None:
    result = _compare(reader(), "--data", folder([1, 2, 7]))
    assert result.exit_code == 0
    assert (
        "reader int8 ort, batch 1, 1 thread: top-1 is 33.33 points lower, more than the 0.5 allowed, but "
        "within chance on so few images: measure on more (--data)." in result.stderr
    )


def test_a_failure_weighs_more_than_a_drop(stubs: Stubs, reader: Make, folder: Make) -> None:
    stubs.refuse["resnet18"] = ExportError("It does not export.", "Try another.")
    result = _compare(reader(), "resnet18", "--weights", "random", "--data", folder([7, 7, 7, 1] * 12))
    assert result.exit_code == 1
    assert "points below the float" in result.stderr


def test_one_figure_and_one_variant_are_told_in_the_singular(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    arguments = (reader(), "--precision", "fp32", "--data", folder([1, 2]))
    assert _compare(*arguments, "-o", "old").exit_code == 0
    baseline = ("--baseline", "old/results.json", "--fresh")
    assert "than the baseline in 1 variant: accuracy of 1" in _compare(*arguments, *baseline).stderr
    stubs.p50, stubs.spread = 12, 0.9
    slower = _compare(*arguments, *baseline)
    assert slower.exit_code == 3
    assert "1 figure of 1 variant is worse than in the baseline." in slower.stderr


def test_a_variant_that_vanished_is_no_figure(stubs: Stubs, reader: Make, folder: Make) -> None:
    arguments = (reader(), "--data", folder([1, 2]))
    assert _compare(*arguments, "-o", "old").exit_code == 0
    less = _compare(*arguments, "--precision", "fp32", "--baseline", "old/results.json")
    assert less.exit_code == 3
    assert "int8 ort, batch 1, 1 thread: no longer measured." in less.stderr
    assert "Error: 1 variant of the baseline failed or is missing." in less.stderr


def test_what_got_less_accurate_than_the_baseline_exits_with_3(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    data = folder([1, 2, 3, 4] * 8)
    good = _compare(reader("reader.onnx"), "--data", data, "-o", "old")
    assert good.exit_code == 0
    bad = _compare(reader("reader.onnx", shift=1), "--data", data, "--baseline", "old/results.json")
    assert bad.exit_code == 3
    assert "top-1 100.00 % -> 0.00 %" in bad.stderr


def test_a_baseline_of_another_version_is_refused_before_anything_runs(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path, place: Path
) -> None:
    old = tmp_path / "old.json"
    old.write_text('{"schema": "edgecnn.result/0", "results": []}')
    result = _compare(reader(), "--data", folder([1]), "--baseline", old)
    assert result.exit_code == 1
    assert "'edgecnn.result/0', and this edgecnn reads 'edgecnn.result/1'" in result.stderr
    assert stubs.measured == 0
    assert not (place / "comparison").exists()


def test_weights_for_all_for_one_and_of_a_folder(
    stubs: Stubs, folder: Make, reader: Make, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("resnet18.pt", "resnet34.pth", "resnet34.safetensors"):
        (weights / name).touch()
    networks = ("resnet18", "resnet34", "resnet50", reader())
    said = ("--weights", weights, "--weights", "resnet50=a=b/c.pth")
    result = _compare(*networks, *said, "--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert stubs.exported == [
        ("resnet18", str(weights / "resnet18.pt")),
        ("resnet34", str(weights / "resnet34.pth")),
        ("resnet50", "a=b/c.pth"),
    ]


def test_a_path_of_weights_may_hold_an_equals_sign(stubs: Stubs) -> None:
    _compare("resnet18", "--weights", "runs/lr=0.1/best.pth", "--precision", "fp32")
    assert stubs.exported == [("resnet18", "runs/lr=0.1/best.pth")]


def test_a_folder_without_the_weights_of_a_network_says_so_before_any_export(
    stubs: Stubs, tmp_path: Path
) -> None:
    (tmp_path / "resnet18.pth").touch()
    result = _compare("resnet18", "resnet34", "--weights", tmp_path, "--precision", "fp32")
    assert result.exit_code == 2
    assert "has no weights of resnet34: no resnet34.pth, .pt or .safetensors" in result.stderr
    assert "--weights resnet34=PATH|pretrained|random" in result.stderr
    assert stubs.exported == []


def test_no_weights_at_all_is_wrong_usage(reader: Make) -> None:
    result = _compare("resnet18", "--precision", "fp32")
    assert result.exit_code == 2
    assert "Pass --weights pretrained" in result.stderr


def test_weights_that_do_not_exist_fail_for_that_network_alone(
    monkeypatch: pytest.MonkeyPatch, reader: Make, stubs: Stubs
) -> None:
    from edgecnn.commands.model_argument import resolve_model

    monkeypatch.setattr(compare_command, "resolve_model", resolve_model)
    result = _compare("resnet18", reader(), "--weights", "gone.pth", "--precision", "fp32")
    assert result.exit_code == 1
    assert "gone.pth: there is no such file of weights." in result.stdout
    assert stubs.measured == 1


def test_int8_without_images_says_what_to_pass(stubs: Stubs) -> None:
    result = _compare("resnet18", "--weights", "random")
    assert result.exit_code == 2
    assert "Pass --calib DATA" in result.stderr
    assert stubs.exported == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--duration", "0"),
        ("--duration", "-1"),
        ("--duration", "nan"),
        ("--duration", "inf"),
        ("--precision", "int4"),
        ("--precision", ""),
        ("--batch", "0"),
        ("--threads", "0"),
        ("--threads", "1", "--engine", "ort:threads=1"),
        ("--limit", "0"),
        ("--images", "1"),
        ("--max-drop", "-1"),
        ("--max-drop", "nan"),
        ("--engine", "orrt"),
        ("--engine", "ort,,torch"),
        ("--engine", "ort:nonsense=1"),
        ("--data", "nowhere"),
        ("--engine", "torch", "--precision", "fp16"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(stubs: Stubs, reader: Make, arguments: tuple[str, ...]) -> None:
    assert _compare(reader(), "--precision", "fp32", *arguments).exit_code == 2
    assert stubs.measured == 0


def test_no_network_is_wrong_usage() -> None:
    assert _compare("--precision", "fp32").exit_code == 2


def test_an_unknown_network_is_wrong_usage(reader: Make) -> None:
    result = _compare("resnet19", "--weights", "random", "--precision", "fp32")
    assert result.exit_code == 2
    assert "resnet18" in result.stderr


def test_an_empty_data_set_is_refused(stubs: Stubs, reader: Make, tmp_path: Path) -> None:
    data = tmp_path / "empty.npz"
    np.savez(data, x_test=np.zeros((0, 4, 4, 3), np.uint8), y_test=np.zeros(0, np.int64))
    result = _compare(reader(), "--data", data, "--precision", "fp32")
    assert result.exit_code == 2
    assert "there is no image in it" in result.stderr
    assert stubs.measured == 0


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_what_draws_the_page_the_other_files_are_written(
    stubs: Stubs, reader: Make, place: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("edgecnn.reports.")]:
        if name.startswith(("edgecnn.reports.html", "edgecnn.reports.plots", "edgecnn.reports.page_plots")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    result = _compare(reader(), "--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert "Warning: No page was written. " in result.stderr
    assert "pip install 'edgecnn[plots]'" in result.stderr
    assert {path.name for path in (place / "comparison").iterdir() if path.is_file()} == {
        "results.json",
        "results.csv",
        "results.md",
    }
    if missing == "matplotlib":
        assert _compare(reader(), "--precision", "fp32", "--plots", "plots", "--fresh").exit_code == 1
        assert stubs.measured == 1  # told before the run, not after it


def test_plots_are_written(stubs: Stubs, reader: Make, folder: Make, place: Path) -> None:
    result = _compare(reader(), "--data", folder([1, 7]), "--plots", "plots")
    assert result.exit_code == 0, result.output
    assert {path.suffix for path in (place / "plots").iterdir()} == {".png", ".svg"}


def test_a_folder_that_cannot_be_written_is_told_before_the_run(
    stubs: Stubs, reader: Make, place: Path
) -> None:
    (place / "file").touch()
    result = _compare(reader(), "--precision", "fp32", "-o", "file/folder")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert "-o" in result.stderr
    assert stubs.measured == 0


def test_the_baseline_may_not_be_what_is_replaced(stubs: Stubs, reader: Make, place: Path) -> None:
    path = place / "comparison" / "results.json"
    for _ in range(2):  # whether there is one already or not
        result = _compare(reader(), "--precision", "fp32", "--baseline", path)
        assert result.exit_code == 2
        assert "Keep the baseline elsewhere" in result.stderr
        assert stubs.measured <= 1
        _compare(reader(), "--precision", "fp32")


def test_a_gate_that_compares_nothing_does_not_pass(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    arguments, path = (reader(), "--precision", "fp32"), tmp_path / "old.json"
    assert _compare(*arguments).exit_code == 0
    document = read_results(Path("comparison/results.json"))
    write_results(replace(document, environment=replace(document.environment, cpu="Cortex-A76")), path)
    elsewhere = _compare(*arguments, "--baseline", path, "-q")
    assert elsewhere.exit_code == 3
    assert "Warning: Measured on another machine" in elsewhere.stderr
    assert "Nothing could be compared with the baseline" in elsewhere.stderr
    (only,) = document.results
    write_results(replace(document, results=(replace(only, error="It failed then."),)), path)
    assert _compare(*arguments, "--baseline", path).exit_code == 3


@pytest.mark.slow
def test_a_real_network_from_weights_to_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    options = ("--weights", "random", "--limit", "60", "--images", "64", "--max-drop", "100")
    short = ("--duration", "0.1", "--threads", "1", "--data", "digits")
    result = _compare("lenet5", *options, *short, "--json")
    assert result.exit_code == 0, result.output
    fp32, int8 = decode_results(result.stdout, origin="standard output").results
    assert int8.variant.precision in ("int8", "mixed")
    for each in (fp32, int8):
        assert each.accuracy is not None
        assert each.latency_ms is not None
        assert each.memory_bytes is not None
        assert each.accuracy.n == 60
    assert int8.ratio is not None
    again = json.loads(_compare("lenet5", *options, *short, "--json").stdout)["results"]
    assert all("from an earlier run" in each["warnings"].pop() for each in again)
    assert again == json.loads(result.stdout)["results"]
    assert (place / "comparison" / "report.html").stat().st_size < 1_500_000

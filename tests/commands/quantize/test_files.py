"""What ``edgecnn quantize`` prints and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgecnn.artifact import open_artifact, save_artifact
from edgecnn.cli import main
from tests.commands.quantize.running import NODES, SIDE, Case, GraphOf, quantize, results_of, weights


def test_the_default_is_automatic_int8_beside_nothing_else(case: Case) -> None:
    result = quantize(case.model, "--calib", case.calib, "--data", case.data)
    assert result.exit_code == 0, result.output
    path = Path("small.int8.onnx")
    record = open_artifact(path).spec.quantization
    assert record is not None
    assert (record.recipe, record.target) == ("auto", "ort")
    assert record.accuracy is not None
    assert record.accuracy.reference_top1 == 100.0
    assert "small.int8.onnx: " in result.stdout
    assert "top-1" in result.stdout
    assert (
        "Speed     2.00 times the float model's (95 % interval 1.80 to 2.20): one image, one thread, ort\n"
        in result.stdout
    )
    assert record.speed is not None
    assert record.speed.ratio_ci95 == pytest.approx((1.8, 2.2))
    assert "95 % interval 1.80 to 2.20" in CliRunner().invoke(main, ["inspect", str(path)]).stdout
    assert "cannot be told" not in result.stderr
    assert record.int8_mac_share is not None
    share = f"{record.int8_mac_share:.0f} % of the multiply-accumulates really run in int8"
    assert share in result.stdout
    assert f"All that was tried: {path.with_suffix('.front.json')}" in result.stdout


def test_json_is_a_result_file(case: Case) -> None:
    arguments = ("--calib", case.calib, "--data", case.data, "--recipe", "minmax", "--json")
    result = quantize(case.model, *arguments, "-o", "new/folder/q.onnx")
    assert result.exit_code == 0, result.output
    reference, quantised = results_of(result).results
    assert (reference.variant.artifact, quantised.variant.artifact) == (str(case.model), "new/folder/q.onnx")
    assert (reference.variant.precision, quantised.variant.precision) == ("fp32", "int8")
    assert reference.accuracy is not None
    assert quantised.accuracy is not None
    assert (reference.accuracy.n, reference.accuracy.top1, quantised.accuracy.n) == (30, 100.0, 30)
    assert quantised.accuracy.flips is not None
    assert quantised.accuracy.agreement is not None
    assert reference.latency_ms is not None
    assert quantised.latency_ms is not None
    assert (reference.latency_ms.p50, quantised.latency_ms.p50) == (2.0, 1.0)
    assert quantised.memory_bytes is not None
    assert quantised.memory_bytes.file == Path("new/folder/q.onnx").stat().st_size
    assert [(gate.name, gate.limit, gate.held) for gate in quantised.gates] == [
        ("max_drop", 0.5, True),
        ("min_speedup", 1.0, True),
    ]
    assert reference.gates == ()
    assert quantised.ratio is not None
    assert quantised.ratio.baseline.startswith("small fp32 ort")
    assert quantised.ratio.ci95 == pytest.approx((1.8, 2.2))
    assert quantised.ratio.distinct
    assert quantised.warnings == ()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("--recipe", "minmax"), "small.int8.onnx"),
        (("--recipe", "weights"), "small.w8.onnx"),
        (("--recipe", "fp16"), "small.fp16.onnx"),
        (("--recipe", "minmax", "--target", "trt"), "small.trt.int8.onnx"),
        (("--recipe", "fp16", "--target", "trt"), "small.trt.fp16.onnx"),
    ],
)
def test_the_default_name_says_what_it_is(arguments: Sequence[str], name: str, case: Case) -> None:
    result = quantize(case.model, "--calib", case.calib, "--max-drop", "100", *arguments)
    assert result.exit_code == 0, result.output
    assert [path.name for path in Path().glob("*.onnx")] == [name]


def test_what_tensorrt_runs_is_not_timed_here(case: Case) -> None:
    arguments = ("--calib", case.calib, "--target", "trt", "--recipe", "minmax", "--max-drop", "100")
    result = quantize(case.model, *arguments)
    assert result.exit_code == 0, result.output
    assert "speed is not" in result.stderr
    assert "Speed     not measured" in result.stdout
    assert "multiply-accumulates" not in result.stdout


def test_what_multiplies_where_is_not_made_up(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecnn.quantize.measure.macs_by_node", lambda *_: None)
    arguments = ("--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "-o", "q.onnx")
    result = quantize(case.model, *arguments)
    assert result.exit_code == 0, result.output
    assert "Int8      not known" in result.stdout
    record = open_artifact(Path("q.onnx")).spec.quantization
    assert record is not None
    assert record.int8_mac_share is None


def test_ranges_that_have_not_converged_are_warned_of_and_recorded(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecnn.quantize.calibration._CONVERGED", -1.0)
    arguments = ("--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "-o", "q.onnx")
    result = quantize(case.model, *arguments)
    assert result.exit_code == 0, result.output
    assert "Warning: The last of the calibration images still widened the ranges by" in result.stderr
    (warning,) = results_of(quantize(case.model, *arguments, "--json")).results[1].warnings
    assert warning.startswith("The last of the calibration images")
    about = CliRunner().invoke(main, ["inspect", "q.onnx"]).stdout
    assert "; the last of them widened the ranges by" in " ".join(about.split())


def test_without_images_accuracy_is_not_made_up(case: Case) -> None:
    result = quantize(case.model, "--recipe", "fp16")
    assert result.exit_code == 0, result.output
    assert "Accuracy was not measured: pass --calib or --data." in result.stdout


def test_what_overflows_can_be_kept_in_float(graph_of: GraphOf, case: Case) -> None:
    """The remedy that the error names is one."""
    nodes = NODES.replace("p = Glob", "m = Mul(t, big) e = Exp(m) i = Reciprocal(e) o = Add(t, i) p = Glob")
    nodes = nodes.replace("GlobalAveragePool(t)", "GlobalAveragePool(o)")
    model = graph_of(nodes, weights() | {"big": np.full(1, 1e5, np.float32)}, f"3,{SIDE},{SIDE}")
    path = save_artifact(model, open_artifact(case.model).spec, Path("overflow.onnx")).path
    arguments = (path, "--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "-o", "q.onnx")
    refused = quantize(*arguments)
    assert refused.exit_code == 1
    remedy = refused.stderr.splitlines()[-1]
    assert remedy.endswith("--keep-float e --keep-float i.")
    result = quantize(*arguments, "--keep-float", "e", "--keep-float", "i")
    assert result.exit_code == 0, result.output
    assert open_artifact(Path("q.onnx")).spec.precision == "mixed"
    again = quantize(*arguments)
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (1, remedy), "the cache hides nothing"

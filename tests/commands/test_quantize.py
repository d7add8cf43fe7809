"""``edgecnn quantize`` at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgecnn.artifact import graph_input, graph_output, open_artifact, save_artifact
from edgecnn.cli import main
from edgecnn.engines import open_engine
from edgecnn.environment import Environment, describe_environment
from edgecnn.preprocess import prepare
from edgecnn.quantize import measure, mixed_precision, pipeline, static_int8
from edgecnn.quantize.mixed_precision import Judge, RelativeLatency
from edgecnn.quantize.portability import Portability
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.settings import this_cpu
from edgecnn.reports.result import ResultFile
from edgecnn.reports.result_file import decode_results
from edgecnn.spec import ModelSpec, Preprocess, WeightsId
from edgecnn.timing.speed import SpeedRatio

GraphOf = Callable[..., onnx.ModelProto]

SIDE = 12
CLASSES = tuple(f"class {index}" for index in range(4))
NODES = """a = Conv<pads=[1, 1, 1, 1]>(x, w1, b1) r = Relu(a) c = Conv<pads=[1, 1, 1, 1]>(r, w2, b1)
    s = Add(r, c) t = Relu(s) p = GlobalAveragePool(t) f = Flatten(p) y = Gemm<transB=1>(f, dense, b2)"""
PREPROCESS = Preprocess(resize=None, crop=(SIDE, SIDE), mean=(0.5,) * 3, std=(0.25,) * 3)


def _weights() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(3)
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "dense": (4, 8), "b1": (8,), "b2": (4,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _ratio(ratio: float, reach: float = 0.1) -> Callable[..., SpeedRatio]:
    """A comparison whose interval ends that share above and below."""

    def compare(*_: object, **__: object) -> SpeedRatio:
        ci95 = ((1 - reach) * ratio, (1 + reach) * ratio)
        return SpeedRatio(reference_ms=2.0, ms=2.0 / ratio, ratio=ratio, ci95=ci95, spread=(0.1, 10.0))

    return compare


@dataclass(frozen=True)
class Case:
    """A float artifact and images, sorted by what it answers: its top-1 is 100 %."""

    model: Path
    calib: Path
    data: Path


@pytest.fixture
def case(graph_of: GraphOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measure, "compare_speed", _ratio(2.0))
    monkeypatch.setattr(mixed_precision, "compare_speed", _ratio(1.0, 0.0))
    monkeypatch.chdir(tmp_path)
    model = graph_of(NODES, _weights(), f"3,{SIDE},{SIDE}")
    spec = ModelSpec(
        network="small",
        classes=CLASSES,
        input=graph_input(model),
        output=graph_output(model),
        preprocess=PREPROCESS,
        weights=WeightsId(kind="random", name="seed=3"),
    )
    path = save_artifact(model, spec, tmp_path / "models" / "small.onnx").path
    return Case(path, _folder(path, tmp_path / "calib", 40, 1), _folder(path, tmp_path / "data", 30, 2))


def _folder(model: Path, root: Path, count: int, seed: int) -> Path:
    """Plain colours with noise, each in the folder of the class that ``model`` says."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 200, (count, 1, 1, 3))
    pixels = (colours + rng.integers(0, 56, (count, SIDE, SIDE, 3))).astype(np.uint8)
    pictures = [Image.fromarray(each) for each in pixels]
    artifact = open_artifact(model)
    with open_engine("ort", artifact) as engine:
        scores = engine.run(np.stack([prepare(picture, artifact.spec) for picture in pictures]))
    for at, (picture, label) in enumerate(zip(pictures, scores.argmax(axis=1), strict=True)):
        path = root / CLASSES[label] / f"{at:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    return root


def _quantize(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["quantize", *map(str, arguments), "--threads", "1"])


def _document(result: Result) -> ResultFile:
    return decode_results(result.stdout, origin="standard output")


def _breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on int8 clips nearly everything."""

    def clipped(*_: object) -> Range:
        return (-0.01, 0.01)

    monkeypatch.setattr(static_int8, "choose_range", clipped)


def test_the_default_is_automatic_int8_beside_nothing_else(case: Case) -> None:
    result = _quantize(case.model, "--calib", case.calib, "--data", case.data)
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
    result = _quantize(case.model, *arguments, "-o", "new/folder/q.onnx")
    assert result.exit_code == 0, result.output
    reference, quantised = _document(result).results
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


def test_losing_too_much_exits_with_3(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    _breaks(monkeypatch)
    arguments = ("--calib", case.calib, "--data", case.data, "--recipe", "minmax", "--max-drop", "1.5")
    result = _quantize(case.model, *arguments)
    assert result.exit_code == 3
    assert "--max-drop allows 1.5" in result.stderr
    assert "not faster" not in result.stderr
    assert "--recipe auto" in result.stderr
    assert "--keep-float" in result.stderr
    assert "The file was written" in result.stderr
    assert Path("small.int8.onnx").is_file()
    assert _quantize(case.model, *arguments[:-1], "100").exit_code == 0


def test_being_as_fast_as_the_float_model_exits_with_3(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "compare_speed", _ratio(1.0, 0.01))
    result = _quantize(case.model, "--calib", case.calib, "--recipe", "minmax")
    assert result.exit_code == 3
    assert "not faster than the float model: 1.00 times the speed (95 % interval 0.99 to" in result.stderr


def test_not_being_faster_exits_with_3(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "compare_speed", _ratio(0.8))
    result = _quantize(case.model, "--calib", case.calib, "--recipe", "minmax", "--json")
    assert result.exit_code == 3
    words = "not faster than the float model: 0.80 times the speed (95 % interval 0.72 to 0.88; 100 % of its"
    assert words in result.stderr
    assert "--max-drop" not in result.stderr
    assert "float model" in result.stderr.splitlines()[-1]
    gates = {gate.name: gate.held for gate in _document(result).results[1].gates}
    assert gates == {"max_drop": True, "min_speedup": False}


CANNOT_TELL = "Whether it is faster than the float model cannot be told: the 95 % interval of its speed is"


@pytest.mark.parametrize(
    ("ratio", "reach", "words"),
    [
        (6.74, 0.969, f"{CANNOT_TELL} 0.21 to 13.27 times"),
        (0.96, 0.1, f"{CANNOT_TELL} 0.86 to 1.06 times"),
        (2.3, 0.6, f"{CANNOT_TELL} 0.92 to 3.68 times"),
    ],
)
def test_what_cannot_be_told_is_a_warning(
    ratio: float, reach: float, words: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "compare_speed", _ratio(ratio, reach))
    result = _quantize(case.model, "--calib", case.calib, "--recipe", "minmax", "--json")
    assert result.exit_code == 0, result.output
    assert f"Warning: {words}" in result.stderr
    quantised = _document(result).results[1]
    assert {gate.name: gate.held for gate in quantised.gates} == {"max_drop": True, "min_speedup": True}
    assert len(quantised.warnings) == 1
    assert quantised.ratio is not None
    assert not quantised.ratio.distinct


def test_both_are_told(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    _breaks(monkeypatch)
    monkeypatch.setattr(measure, "compare_speed", _ratio(0.8))
    result = _quantize(case.model, "--calib", case.calib, "--data", case.data, "--recipe", "minmax")
    assert result.exit_code == 3
    assert "--max-drop allows 0.5" in result.stderr
    assert "not faster" in result.stderr


def test_what_is_for_size_need_not_be_faster(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "compare_speed", _ratio(0.8))
    result = _quantize(case.model, "--recipe", "fp16", "--json")
    assert result.exit_code == 0, result.output
    assert _document(result).results[1].gates == ()
    monkeypatch.setattr(measure, "compare_speed", _ratio(1.0))
    result = _quantize(case.model, "--recipe", "fp16", "--json")
    assert _document(result).results[1].warnings == ()
    assert "cannot be told" not in result.stderr


@pytest.mark.parametrize(("recipe", "tell_from"), [("minmax", 1.0), ("fp16", None)])
def test_only_what_must_be_faster_is_measured_until_it_is_told(
    recipe: str, tell_from: float | None, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def compare(*runs: object, **options: object) -> SpeedRatio:
        asked.append(options["tell_from"])
        return _ratio(2.0)()

    monkeypatch.setattr(measure, "compare_speed", compare)
    assert _quantize(case.model, "--calib", case.calib, "--recipe", recipe).exit_code == 0
    assert asked == [tell_from]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--recipe", "nncf"), ("nncf", "--target openvino")),
        (("--target", "trt", "--recipe", "dynamic"), ("TensorRT", "--recipe")),
        (("--recipe", "best"), ("'best'",)),
        (("--target", "tpu"), ("'tpu'",)),
        (("--max-drop", "-1"), ("--max-drop",)),
        (("--images", "1"), ("--images",)),
        (("--cpu", "risc"), ("'risc'",)),
        (("--calib", "nowhere"), ("nowhere",)),
        (("--keep-float", "features.9", "--recipe", "fp16"), ("'features.9'", "inspect")),
    ],
)
def test_wrong_usage(arguments: Sequence[str], words: Sequence[str], case: Case) -> None:
    result = _quantize(case.model, *arguments)
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.stderr
    assert not list(Path().glob("*.onnx"))


@pytest.mark.parametrize("recipe", ["auto", "minmax", "entropy"])
def test_images_are_needed(recipe: str, case: Case) -> None:
    result = _quantize(case.model, "--recipe", recipe)
    assert result.exit_code == 2
    assert "--calib" in result.stderr
    assert not list(Path().glob("*.onnx"))


def test_the_model_is_not_overwritten(case: Case) -> None:
    before = case.model.read_bytes()
    result = _quantize(
        case.model, "--calib", case.calib, "-o", case.model.parent / ".." / "models" / "small.onnx"
    )
    assert result.exit_code == 1
    assert "is the model itself" in result.stderr
    assert "-o" in result.stderr
    assert case.model.read_bytes() == before


def test_a_place_that_cannot_be_written_is_told_first(case: Case) -> None:
    Path("file").touch()
    result = _quantize(case.model, "--calib", case.calib, "-o", "file/q.onnx")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert "Ranges" not in result.stderr


def test_evaluating_on_the_calibration_images_is_refused(case: Case) -> None:
    result = _quantize(case.model, "--calib", case.calib, "--data", case.calib)
    assert result.exit_code == 1
    assert "all of its images are among those" in result.stderr


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
    result = _quantize(case.model, "--calib", case.calib, "--max-drop", "100", *arguments)
    assert result.exit_code == 0, result.output
    assert [path.name for path in Path().glob("*.onnx")] == [name]


def test_what_tensorrt_runs_is_not_timed_here(case: Case) -> None:
    arguments = ("--calib", case.calib, "--target", "trt", "--recipe", "minmax", "--max-drop", "100")
    result = _quantize(case.model, *arguments)
    assert result.exit_code == 0, result.output
    assert "speed is not" in result.stderr
    assert "Speed     not measured" in result.stdout
    assert "multiply-accumulates" not in result.stdout


def test_without_images_accuracy_is_not_made_up(case: Case) -> None:
    result = _quantize(case.model, "--recipe", "fp16")
    assert result.exit_code == 0, result.output
    assert "Accuracy was not measured: pass --calib or --data." in result.stdout


def test_the_front_is_saved_and_drawn(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "latency_over", lambda *_: RelativeLatency())
    result = _quantize(case.model, "--calib", case.calib, "--data", case.data, "--json", "-o", "q.onnx")
    assert result.exit_code == 0, result.output
    document = json.loads(Path("q.front.json").read_text())
    assert (document["schema"], document["artifact"]) == ("edgecnn.front/1", "q.onnx")
    points = document["points"]
    assert points[0]["label"] == "all in int8"
    assert [point["chosen"] for point in points].count(True) == 1
    chosen = next(point for point in points if point["chosen"])
    record = open_artifact(Path("q.onnx")).spec.quantization
    assert record is not None
    assert tuple(chosen["kept_float"]) == record.kept_float
    assert len({tuple(point["kept_float"]) for point in points}) == len(points)
    assert {"fidelity", "drop", "relative_latency", "met"} <= set(chosen)
    with Image.open("q.front.png") as picture:
        assert picture.format == "PNG"


def test_nodes_kept_by_the_user_do_not_hide_the_choice(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "latency_over", lambda *_: RelativeLatency())
    result = _quantize(
        case.model, "--calib", case.calib, "--keep-float", "a", "--max-drop", "100", "-o", "q.onnx"
    )
    assert result.exit_code == 0, result.output
    points = json.loads(Path("q.front.json").read_text())["points"]
    assert [point["chosen"] for point in points].count(True) == 1


def test_what_overflows_can_be_kept_in_float(graph_of: GraphOf, case: Case) -> None:
    """The remedy that the error names is one."""
    nodes = NODES.replace("p = Glob", "m = Mul(t, big) e = Exp(m) i = Reciprocal(e) o = Add(t, i) p = Glob")
    nodes = nodes.replace("GlobalAveragePool(t)", "GlobalAveragePool(o)")
    model = graph_of(nodes, _weights() | {"big": np.full(1, 1e5, np.float32)}, f"3,{SIDE},{SIDE}")
    path = save_artifact(model, open_artifact(case.model).spec, Path("overflow.onnx")).path
    arguments = (path, "--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "-o", "q.onnx")
    refused = _quantize(*arguments)
    assert refused.exit_code == 1
    remedy = refused.stderr.splitlines()[-1]
    assert remedy.endswith("--keep-float e --keep-float i.")
    result = _quantize(*arguments, "--keep-float", "e", "--keep-float", "i")
    assert result.exit_code == 0, result.output
    assert open_artifact(Path("q.onnx")).spec.precision == "mixed"
    again = _quantize(*arguments)
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (1, remedy), "the cache hides nothing"


def test_no_front_where_nothing_was_searched(case: Case) -> None:
    result = _quantize(case.model, "--calib", case.calib, "--recipe", "minmax")
    assert result.exit_code == 0, result.output
    assert "All that was tried" not in result.stdout
    assert sorted(path.name for path in Path().glob("small*")) == ["small.int8.onnx"]


@pytest.mark.parametrize(
    ("sets", "cpu"),
    [
        (("avx2", "avx512_vnni"), "vnni"),
        (("avx2", "avx_vnni"), "vnni"),
        (("avx", "avx2", "avx512f"), "x86"),
        (("asimd", "asimddp"), "arm"),
        (("neon",), "arm"),
        ((), "x86"),
        (None, "x86"),
    ],
)
def test_this_cpu(sets: tuple[str, ...] | None, cpu: str) -> None:
    environment: Environment = replace(describe_environment(()), instruction_sets=sets)
    assert this_cpu(environment) == cpu


@pytest.mark.parametrize(("cpu", "scheme"), [("vnni", "uint8"), ("x86", "7"), ("arm", "int8 activations")])
def test_the_cpu_decides_the_data_types(cpu: str, scheme: str, case: Case) -> None:
    arguments = ("--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "-o", "q.onnx")
    result = _quantize(case.model, *arguments, "--cpu", cpu)
    assert result.exit_code == 0, result.output
    record = open_artifact(Path("q.onnx")).spec.quantization
    assert record is not None
    assert scheme in record.scheme


def _portable(able: Sequence[str], layers: Sequence[tuple[str, float]], changed: int) -> Portability:
    return Portability(
        images=8,
        layers_checked=3,
        layers_exempt=0,
        layers_able=tuple(able),
        saturating_layers=tuple(layers),
        top1_changed=changed,
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (_portable([], [], 0), "no 8-bit sum can saturate: x86 CPUs with and without VNNI answer alike"),
        (_portable(["a"], [], 0), "sums could saturate on x86 CPUs without VNNI; on 8 images none did"),
        (
            _portable(["a", "c"], [("a", 0.1), ("c", 2.0)], 3),
            "not to x86 CPUs without VNNI (for those: --cpu x86): sums of 2 layers saturate there, and 3",
        ),
    ],
)
def test_portability_is_told(
    found: Portability, words: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "check_portability", lambda *_: found)
    arguments = ("--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "--cpu", "vnni")
    result = _quantize(case.model, *arguments)
    assert result.exit_code == 0, result.output
    assert f"Portable  {words}" in result.stdout


def test_reduced_weights_are_portable(case: Case) -> None:
    arguments = ("--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "--cpu", "x86")
    assert "no 8-bit sum can saturate" in _quantize(case.model, *arguments).stdout

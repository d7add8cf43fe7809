"""Building with a fake TensorRT in a real process of its own: what is written, and what goes wrong how."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import msgspec
import onnx
import pytest

from edgecnn.artifact import Artifact, file_sha256, open_artifact, save_artifact
from edgecnn.errors import ArtifactError, EngineError, EngineUnavailableError, UsageError
from edgecnn.plans import read_plan
from edgecnn.plans.build import build_plan, build_wanted, want
from edgecnn.plans.flavour import TRT_RTX
from edgecnn.plans.messages import BuildJob, Failed, Progress
from edgecnn.plans.options import BuildOptions
from edgecnn.plans.spec import Batches
from tests.plans.conftest import GPU, spec_of, weights

Install = Callable[..., ModuleType]
GraphOf = Callable[..., onnx.ModelProto]


def left_in(folder: Path) -> list[str]:
    """What lies there besides the model and the cache."""
    return sorted(path.name for path in folder.iterdir() if path.name not in {"tiny.onnx", "cache"})


def test_a_plan_and_its_spec_are_written(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt()
    plan = build_plan(tiny, BuildOptions(), tmp_path / "out" / "tiny.plan")
    assert left_in(tmp_path / "out") == ["tiny.plan", "tiny.plan.json"]
    assert read_plan(plan.path) == plan
    assert open_artifact(plan.path) == plan.artifact
    assert plan.artifact.spec == tiny.spec
    spec = plan.spec
    assert (spec.flavour, spec.tensorrt_version) == ("trt", "10.13.3.9")
    assert (spec.gpu, spec.compute_capability) == (GPU.name, GPU.compute_capability)
    assert spec.onnx_sha256 == tiny.sha256()
    assert spec.plan_sha256 == file_sha256(plan.path)
    assert plan.content() == plan.path.read_bytes()
    assert spec.network_layers == {"fp32": 2}
    assert spec.layers_from == "inspector"
    assert spec.layers.keys() == {"fp32"}


def test_options_reach_tensorrt(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    tensorrt = fake_tensorrt()
    options = BuildOptions(
        precision="fp16",
        batches=Batches(min=1, opt=4, max=16),
        workspace_bytes=64 * 2**20,
        version_compatible=True,
        hardware="ampere+",
    )
    plan = build_plan(tiny, options, tmp_path / "tiny.plan")
    asked = tensorrt.read_fake_plan(plan.path)
    assert asked["profiles"] == [{"x": [[1, 3, 8, 8], [4, 3, 8, 8], [16, 3, 8, 8]]}]
    assert asked["workspace"] == 64 * 2**20
    assert asked["flags"] == ["VERSION_COMPATIBLE"]  # TF32, which is set from the start, is cleared
    assert asked["hardware"] == "ampere"
    assert plan.spec.network_layers == {"fp16": 2}
    assert plan.spec.model.precision == "fp16"


def test_a_fixed_batch_is_the_profile(graph_of: GraphOf, fake_tensorrt: Install, tmp_path: Path) -> None:
    tensorrt = fake_tensorrt()
    model = graph_of("y = Relu(x)", {})
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    artifact = save_artifact(model, spec_of(model), tmp_path / "tiny.onnx")
    plan = build_plan(artifact, BuildOptions(), tmp_path / "tiny.plan")
    assert plan.spec.batches == Batches(min=4, opt=4, max=4)
    assert tensorrt.read_fake_plan(plan.path)["profiles"] == [{}]
    with pytest.raises(UsageError, match="exactly 4"):
        build_plan(artifact, BuildOptions(batches=Batches(min=1, opt=1, max=8)), tmp_path / "b.plan")


def test_each_step_is_told(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt("noise")
    steps: list[Progress] = []
    _, built = build_wanted(want(tiny, BuildOptions()), tmp_path / "tiny.plan", steps.append)
    assert steps == [
        Progress("Building engine", None, 0, 2),
        Progress("Timing", "Building engine", 0, 1),
        Progress("Timing", "Building engine", 1, 1),
        Progress("Building engine", None, 1, 2),
    ]
    assert built.complaints == ("a warning",)
    assert built.warnings == ()


WRONGS = {
    "no-gpu": (
        EngineUnavailableError,
        "finds no GPU to build on: CUDA initialization failure with error: 35",
    ),
    "refuse": (
        EngineError,
        "refuses .*tiny.onnx: node 'layer1/Thing' .Thing.: no importer registered .*1 more",
    ),
    "memory": (EngineError, "ran out of memory .* OutOfMemory"),
    "no-kernel": (EngineError, "no kernel for layer1/Conv of"),
    "crash": (EngineError, "crashed .*SIGABRT.* segfault in libnvinfer"),
    "kill": (EngineError, "killed from outside, most likely for want of memory"),
    "raise": (EngineError, "exit code 1.*a bug in the binding"),
    "full": (EngineError, "cannot be written: No space left on device"),
    "unopened": (EngineError, "does not open: no device memory"),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_what_goes_wrong_is_a_sentence_and_leaves_nothing(
    wrong: str, tiny: Artifact, fake_tensorrt: Install, tmp_path: Path
) -> None:
    fake_tensorrt(wrong)
    kind, words = WRONGS[wrong]
    with pytest.raises(kind, match=words) as caught:
        build_plan(tiny, BuildOptions(), tmp_path / "tiny.plan")
    assert caught.value.remedy
    assert left_in(tmp_path) == []


def test_a_plan_that_stayed_fp32_is_an_error(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt("fp32")
    with pytest.raises(EngineError, match=r"not in fp16, as it should be: the plan's layers are .* in fp32"):
        build_plan(tiny, BuildOptions(precision="fp16"), tmp_path / "tiny.plan")
    assert left_in(tmp_path) == []


def test_a_plan_that_lists_no_layers_says_so(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt("silent")
    assert build_plan(tiny, BuildOptions(), tmp_path / "tiny.plan").spec.layers_from == "nothing"


class StopError(Exception):
    """Of an observer."""


def test_an_observer_that_raises_cancels(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt("sleep")
    (tmp_path / "tiny.plan").write_bytes(b"old")

    def stop(step: Progress) -> None:
        raise StopError(step.phase)

    with pytest.raises(StopError):
        build_plan(tiny, BuildOptions(), tmp_path / "tiny.plan", stop)
    assert left_in(tmp_path) == ["tiny.plan"]
    assert (tmp_path / "tiny.plan").read_bytes() == b"old"


def test_a_build_that_takes_too_long_is_ended(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt("sleep")
    with pytest.raises(EngineError, match=r"not built within 0\.5 seconds"):
        build_plan(tiny, BuildOptions(timeout_s=0.5), tmp_path / "tiny.plan")
    assert left_in(tmp_path) == []


def test_a_build_that_stands_still_is_ended(
    tiny: Artifact, fake_tensorrt: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As TensorRT's threads do that ran out of memory; here with a shorter limit."""
    fake_tensorrt("still")
    script = (
        "from edgecnn.plans import child\nimport sys\n"
        "child._STILL_S = 0.3\nsys.exit(child.main(sys.argv[1:]))"
    )
    job = BuildJob(
        flavour="trt",
        onnx=str(tiny.path),
        called="tiny.onnx",
        folder=str(tmp_path / "folder"),
        plan=str(tmp_path / "x.plan"),
        precision="fp32",
        batches=Batches(min=1, opt=1, max=1),
    )
    (tmp_path / "job.json").write_bytes(msgspec.json.encode(job))
    done = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "job.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with done:
        assert done.stdout is not None
        last = done.stdout.read().splitlines()[-1]
    assert "stands still" in msgspec.json.decode(last, type=Failed).problem
    assert done.returncode == 1


def test_timings_of_builds_at_the_same_time_are_all_kept(
    tiny: Artifact, fake_tensorrt: Install, tmp_path: Path
) -> None:
    fake_tensorrt()
    kept = tmp_path / "timings.cache"
    kept.write_bytes(b"kernel of before")
    wanted = want(tiny, BuildOptions(timing_cache=kept))
    threads = [
        threading.Thread(target=build_wanted, args=(wanted, tmp_path / "out" / f"{number}.plan"))
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept.read_text().splitlines()) == 4


def test_timings_are_kept_for_each_gpu_and_tensorrt(
    tiny: Artifact, fake_tensorrt: Install, tmp_path: Path
) -> None:
    fake_tensorrt()
    for name in ("a", "b"):
        build_plan(tiny, BuildOptions(), tmp_path / f"{name}.plan")
    (kept,) = (tmp_path / "cache" / "plans").glob("timings-10.13.3.9-*.cache")
    assert len(kept.read_text().splitlines()) == 2


def test_damaged_timings_are_begun_anew_and_told(
    tiny: Artifact, fake_tensorrt: Install, tmp_path: Path
) -> None:
    fake_tensorrt()
    kept = tmp_path / "timings.cache"
    kept.write_bytes(b"damaged")
    _, built = build_wanted(want(tiny, BuildOptions(timing_cache=kept)), tmp_path / "tiny.plan")
    assert "is of another GPU or TensorRT, or damaged" in built.warnings[0]
    assert kept.read_text().startswith("kernel of ")


def test_timings_that_cannot_be_kept_cost_no_plan(
    tiny: Artifact, fake_tensorrt: Install, tmp_path: Path
) -> None:
    fake_tensorrt()
    (tmp_path / "file").touch()
    kept = tmp_path / "file" / "timings.cache"
    plan, built = build_wanted(want(tiny, BuildOptions(timing_cache=kept)), tmp_path / "tiny.plan")
    assert plan.path.is_file()
    assert "cannot be written" in built.warnings[0]


def test_an_old_tensorrt_lacks_same(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt("old")
    with pytest.raises(EngineUnavailableError, match=r"knows no --hardware same: that came with 10\.9"):
        build_plan(tiny, BuildOptions(hardware="same"), tmp_path / "tiny.plan")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (BuildOptions(flavour=TRT_RTX, version_compatible=True), "no version-compatible plans"),
        (BuildOptions(flavour=TRT_RTX, hardware="ampere+"), r"no --hardware ampere\+"),
        (BuildOptions(flavour=TRT_RTX, timing_cache=Path("t")), "keeps no timing cache"),
    ],
)
def test_what_rtx_has_not_is_refused(
    options: BuildOptions, words: str, tiny: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecnn.plans.build.load", lambda _: None)
    with pytest.raises(UsageError, match=words):
        want(tiny, options)


@pytest.mark.parametrize("target", ["ort", "openvino", None])
def test_int8_needs_tensorrts_own_rules(
    target: str | None, tiny: Artifact, fake_tensorrt: Install, tmp_path: Path
) -> None:
    fake_tensorrt()
    spec = spec_of(onnx.load(tiny.path), "int8", target)
    with pytest.raises(ArtifactError, match="by other rules than TensorRT's") as caught:
        build_plan(replace(tiny, spec=spec), BuildOptions(), tmp_path / "tiny.plan")
    assert "edgecnn quantize" in caught.value.remedy
    assert "--target trt" in caught.value.remedy


@pytest.mark.parametrize("precision", ["int8", "mixed"])
def test_int8_for_tensorrt_is_built(
    precision: str, graph_of: GraphOf, fake_tensorrt: Install, tmp_path: Path
) -> None:
    fake_tensorrt()
    model = graph_of("q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Conv(d, w1, b1)", _int8())
    spec = spec_of(model, "int8" if precision == "int8" else "mixed", "trt")
    plan = build_plan(save_artifact(model, spec, tmp_path / "tiny.onnx"), BuildOptions(), tmp_path / "t.plan")
    assert plan.spec.precision == "int8"
    assert plan.spec.model.precision == precision
    assert plan.spec.network_layers == {"int8": 1}


def _int8() -> dict[str, object]:
    import numpy as np

    return weights() | {"s": np.float32(0.1), "z": np.int8(0)}


@pytest.mark.parametrize(
    ("own", "asked", "words"),
    [
        ("fp32", "int8", "is in fp32; an int8 plan needs"),
        ("fp16", "fp32", "does not come back in fp32"),
        ("fp16", "int8", "is in fp16; an int8 plan needs"),
        ("bf16", "fp32", "is in bf16"),
    ],
)
def test_precisions_that_cannot_be_had(
    own: str, asked: str, words: str, tiny: Artifact, fake_tensorrt: Install, tmp_path: Path
) -> None:
    fake_tensorrt()
    artifact = replace(tiny, spec=replace(tiny.spec, precision=own))  # type: ignore[arg-type]
    options = BuildOptions(precision=asked)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match=words):
        build_plan(artifact, options, tmp_path / "tiny.plan")


def test_a_plan_is_no_model(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt()
    plan = build_plan(tiny, BuildOptions(), tmp_path / "tiny.plan")
    with pytest.raises(ArtifactError, match="is a plan already"):
        build_plan(plan.artifact, BuildOptions(), tmp_path / "b.plan")


def test_no_gpu_is_said_first(
    tiny: Artifact, fake_tensorrt: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt()

    def none() -> None:
        raise EngineUnavailableError("There is no NVIDIA GPU that works here.", "Install the driver.")

    monkeypatch.setattr("edgecnn.plans.here.cuda_gpus", none)
    with pytest.raises(EngineUnavailableError, match="no NVIDIA GPU"):
        want(tiny, BuildOptions())
    monkeypatch.setattr("edgecnn.plans.here.cuda_gpus", lambda: (GPU,))
    with pytest.raises(UsageError, match="no GPU number 1"):
        want(tiny, BuildOptions(device=1))


def test_a_place_that_cannot_be_written(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt()
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot be written"):
        build_plan(tiny, BuildOptions(), tmp_path / "file" / "tiny.plan")


def test_open_dimensions_besides_the_batch(graph_of: GraphOf, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt()
    model = graph_of("y = Relu(x)", {})
    model.graph.input[0].type.tensor_type.shape.dim[2].Clear()
    artifact = Artifact(tmp_path / "tiny.onnx", spec_of(model))
    onnx.save(model, artifact.path)
    with pytest.raises(EngineError, match="open dimensions besides the batch"):
        build_plan(artifact, BuildOptions(), tmp_path / "tiny.plan")


def test_constants_beyond_half(graph_of: GraphOf, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt()
    constants = weights()
    constants["w1"][0, 0, 0, 0] = 1e6
    model = graph_of("y = Conv(x, w1, b1)", constants)
    artifact = save_artifact(model, spec_of(model), tmp_path / "tiny.onnx")
    with pytest.raises(ArtifactError, match=r"cannot be converted to fp16.*65504") as caught:
        build_plan(artifact, BuildOptions(precision="fp16"), tmp_path / "tiny.plan")
    assert "--keep-float" in caught.value.remedy


def _sees(device: int, visible: str | None) -> str | None:
    from edgecnn.plans.child_process import _seeing

    return _seeing(device, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}).get(
        "CUDA_VISIBLE_DEVICES"
    )


def test_another_gpu_is_the_first_that_the_build_sees() -> None:
    assert _sees(0, None) is None
    assert _sees(0, "2,3") == "2,3"
    assert _sees(1, None) == "1"
    assert _sees(1, "2, 3") == "3"

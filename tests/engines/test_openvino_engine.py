"""What OpenVINO makes of models that others made, of precisions, and of files that it cannot open."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgecnn.artifact import Artifact, save_artifact
from edgecnn.engines import EngineOptions
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.spec import ModelSpec
from tests.engines.tiny_model import SPEC, model, node

if find_spec("openvino") is None:  # importorskip would import it, and so report to Intel
    pytest.skip("OpenVINO is not installed", allow_module_level=True)

from edgecnn.engines import openvino_model as subject
from edgecnn.engines.openvino import OpenVinoEngine

BATCH = np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1)
#: More digits than bfloat16 has, and more than float16 has.
PRECISE = np.float32(1 + 2**-9 + 2**-13)


def opened(artifact: Artifact) -> OpenVinoEngine:
    return OpenVinoEngine(artifact, EngineOptions(threads=1))


def scaling(dtype: type[np.floating]) -> tuple[onnx.NodeProto, np.ndarray]:
    """A convolution that multiplies each channel with a number that only float32 holds exactly."""
    weights = (np.eye(3, dtype=np.float32) * PRECISE).reshape(3, 3, 1, 1)
    return node("Conv", "x", "w"), weights.astype(dtype)


def test_trailing_dimensions_are_dropped_and_the_caller_owns_the_result(tmp_path: Path) -> None:
    with opened(save_artifact(model(node("Identity")), SPEC, tmp_path / "m.onnx")) as engine:
        scores = engine.run(BATCH)
    assert np.array_equal(scores, BATCH.reshape(2, 3))
    assert not np.shares_memory(scores, BATCH)


def test_float32_artifacts_run_in_float32_even_where_the_cpu_has_bfloat16(tmp_path: Path) -> None:
    convolution, weights = scaling(np.float32)
    with opened(save_artifact(model(convolution, w=weights), SPEC, tmp_path / "m.onnx")) as engine:
        assert engine.info.precision == "fp32"
        assert np.array_equal(engine.run(BATCH), (BATCH * PRECISE).reshape(2, 3))


def test_half_precision_artifacts_never_run_in_bfloat16(tmp_path: Path) -> None:
    half = replace(SPEC, input=replace(SPEC.input, dtype="float16"), precision="fp16")
    convolution, weights = scaling(np.float16)
    artifact = save_artifact(
        model(convolution, dtype=TensorProto.FLOAT16, w=weights), half, tmp_path / "m.onnx"
    )
    with opened(artifact) as engine:
        scores = engine.run(BATCH.astype(np.float16))
        assert engine.info.precision in {"fp32", "fp16"}
    assert scores.dtype == np.float32
    assert np.array_equal(scores, (BATCH * weights[0, 0, 0, 0]).astype(np.float16).reshape(2, 3))


def test_quantised_artifacts_run_as_they_are(tmp_path: Path) -> None:
    """Values that the quantiser's step of 1/2 cannot hold are rounded to it."""
    quantised = model(
        node("QuantizeLinear", "x", "scale", "zero", output="q"),
        node("DequantizeLinear", "q", "scale", "zero"),
        scale=np.array(0.5, np.float32),
        zero=np.array(10, np.uint8),
    )
    artifact = save_artifact(quantised, replace(SPEC, precision="int8"), tmp_path / "m.onnx")
    batch = np.array([-4.9, 0.7, 99.9], np.float32).reshape(1, 3, 1, 1)
    with opened(artifact) as engine:
        assert engine.info.precision == "int8"
        assert engine.run(batch).tolist() == [[-5.0, 0.5, 100.0]]


def test_external_weights_are_read_and_their_absence_is_named(tmp_path: Path) -> None:
    convolution, weights = scaling(np.float32)
    path = tmp_path / "m.onnx"
    artifact = save_artifact(model(convolution, w=weights), SPEC, path)
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="m.data", size_threshold=0)
    with opened(artifact) as engine:
        assert np.array_equal(engine.run(BATCH), (BATCH * PRECISE).reshape(2, 3))
    (tmp_path / "m.data").unlink()
    with pytest.raises(EngineError, match=r"m\.data") as caught:
        opened(artifact)
    assert "same folder" in caught.value.remedy


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, output=replace(SPEC.output, name="logits")),
        replace(SPEC, input=replace(SPEC.input, name="image")),
        replace(SPEC, input=replace(SPEC.input, dtype="uint8")),
    ],
    ids=["output", "input", "dtype"],
)
def test_a_spec_of_another_model_is_an_error(tmp_path: Path, spec: ModelSpec) -> None:
    with pytest.raises(EngineError, match=r"maps x \(float32\) to y, and its spec maps") as caught:
        opened(save_artifact(model(node("Identity")), spec, tmp_path / "m.onnx"))
    assert "--spec" in caught.value.remedy


@pytest.mark.parametrize(
    ("broken", "problem", "remedy"),
    [
        (model(node("Nonsense")), "No conversion rule found for operations: Nonsense-17", "another engine"),
        (model(node("Nonsense", domain="my.own")), "my.own.Nonsense", "another engine"),
        (model(node("Relu", "nowhere")), "nowhere", "onnx.checker"),
    ],
    ids=["operator", "foreign operator", "dangling"],
)
def test_a_refused_model_says_what_it_wants(
    tmp_path: Path, broken: onnx.ModelProto, problem: str, remedy: str
) -> None:
    artifact = save_artifact(broken, SPEC, tmp_path / "broken.onnx")
    with pytest.raises(EngineError) as caught:
        opened(artifact)
    assert not isinstance(caught.value, EngineUnavailableError)
    assert "broken.onnx does not open in OpenVINO 2" in caught.value.problem
    assert problem in caught.value.problem
    assert ".cpp" not in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "remedy"), [(b"no model at all" * 9, "damaged"), (None, "Check the path"), (b"", "--spec")]
)
def test_a_file_that_is_no_model(
    tmp_path: Path, content: bytes | None, remedy: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError) as caught:
        opened(Artifact(path, SPEC))
    assert remedy in caught.value.remedy
    assert capfd.readouterr() == ("", "")


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    shapes = model(node("Reshape", "x", "w"), w=np.array([2, 2], np.int64))
    with (
        opened(save_artifact(shapes, SPEC, tmp_path / "m.onnx")) as engine,
        pytest.raises(EngineError, match=r"answered \[2, 2\] to 2 images|failed to run 'tiny'"),
    ):
        engine.run(BATCH)


def test_a_failed_run_leaves_the_next_ones_whole(tmp_path: Path) -> None:
    """In OpenVINO's own ``infer`` a failure makes the next run of the thread crash the process."""
    half = model(node("Reshape", "x", "w"), w=np.array([2, 3], np.int64))
    failing = save_artifact(half, SPEC, tmp_path / "failing.onnx")
    sound = save_artifact(model(node("Identity")), SPEC, tmp_path / "sound.onnx")
    with opened(failing) as broken, opened(sound) as whole:
        for _ in range(5):
            with pytest.raises(EngineError, match="failed to run 'tiny'"):
                broken.run(BATCH[:1])
            assert np.array_equal(broken.run(BATCH), BATCH.reshape(2, 3))
            assert np.array_equal(whole.run(BATCH), BATCH.reshape(2, 3))


class _Unregistered:
    """A core that knows no CPU plugin: OpenVINO's answers so."""

    def get_versions(self, device: str) -> dict[str, object]:
        assert device == "CPU"
        return {}


class _Unloadable:
    """A core whose CPU plugin does not load."""

    def get_versions(self, device: str) -> dict[str, object]:
        raise RuntimeError(f"Exception from src/core.cpp:268:\nCannot load the library of {device}")


@pytest.mark.parametrize(
    ("core", "problem"),
    [(_Unregistered, "it is not registered"), (_Unloadable, "Cannot load the library of CPU")],
)
def test_without_a_cpu_plugin_it_is_unavailable(
    core: type, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "Core", core)
    subject._core.cache_clear()
    with pytest.raises(EngineUnavailableError, match=f"has no CPU plugin: {problem}"):
        OpenVinoEngine.check()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux says what a process has loaded")
def test_the_plugins_of_other_devices_stay_unloaded(tmp_path: Path) -> None:
    """They cost 5 MB: in a fresh process."""
    artifact = save_artifact(model(node("Identity")), SPEC, tmp_path / "m.onnx")
    script = f"""
from pathlib import Path
from edgecnn.artifact import open_artifact
from edgecnn.engines import EngineOptions, open_engine
with open_engine("openvino", open_artifact(Path({str(artifact.path)!r})), EngineOptions(threads=1)):
    print(Path("/proc/self/maps").read_text())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "openvino_intel_cpu_plugin" in done.stdout
    assert "openvino_intel_npu_plugin" not in done.stdout
    assert "openvino_intel_gpu_plugin" not in done.stdout


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    """Neither a client id in the home folder, nor the library that sends: in a fresh process, outside CI."""
    script = "import sys, edgecnn.engines.openvino; print([m for m in sys.modules if 'openvino_tele' in m])"
    home = {key: value for key, value in os.environ.items() if key != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=home, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert not list(tmp_path.iterdir())

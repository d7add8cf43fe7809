"""What ONNX Runtime makes of models that others made, and of files that it cannot open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnxruntime import SessionOptions

from edgecnn.artifact import Artifact, save_artifact
from edgecnn.engines import EngineOptions, ort, ort_session
from edgecnn.engines.ort import OrtEngine
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.quantize.placement import Scheme
from edgecnn.spec import Quantization
from tests.engines.tiny_model import SPEC, model, node

BATCH = np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1)


def opened(artifact: Artifact) -> OrtEngine:
    return OrtEngine(artifact, EngineOptions(threads=1))


def test_trailing_dimensions_are_dropped(tmp_path: Path) -> None:
    with opened(save_artifact(model(node("Identity")), SPEC, tmp_path / "m.onnx")) as engine:
        assert np.array_equal(engine.run(BATCH), BATCH.reshape(2, 3))


def test_the_caller_owns_the_result_even_of_a_model_that_does_nothing(tmp_path: Path) -> None:
    with opened(save_artifact(model(node("Identity")), SPEC, tmp_path / "m.onnx")) as engine:
        assert not np.shares_memory(engine.run(BATCH), BATCH)


def test_half_precision_scores_become_float32(tmp_path: Path) -> None:
    half = replace(SPEC, input=replace(SPEC.input, dtype="float16"), precision="fp16")
    artifact = save_artifact(model(node("Neg"), dtype=TensorProto.FLOAT16), half, tmp_path / "m.onnx")
    with opened(artifact) as engine:
        scores = engine.run(BATCH.astype(np.float16))
        assert engine.info.precision == "fp16"
    assert scores.dtype == np.float32
    assert np.array_equal(scores, -BATCH.reshape(2, 3))


def test_a_spec_with_other_classes_than_the_output_is_an_error(tmp_path: Path) -> None:
    spec = replace(SPEC, classes=("a", "b"))
    with (
        opened(save_artifact(model(node("Identity")), spec, tmp_path / "m.onnx")) as engine,
        pytest.raises(EngineError, match=r"\[2, 3, 1, 1\] to 2 images, and its spec names 2 classes"),
    ):
        engine.run(BATCH)


def test_a_spec_of_another_model_is_an_error(tmp_path: Path) -> None:
    spec = replace(SPEC, output=replace(SPEC.output, name="logits"))
    with pytest.raises(EngineError, match=r"maps x to y, and its spec maps x to logits"):
        opened(save_artifact(model(node("Identity")), spec, tmp_path / "m.onnx"))


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    shape = np.array([4, 3], np.int64)
    artifact = save_artifact(model(node("Reshape", "x", "w"), w=shape), SPEC, tmp_path / "m.onnx")
    with opened(artifact) as engine, pytest.raises(EngineError, match="failed to run 'tiny': ") as caught:
        engine.run(BATCH)
    assert "cannot be reshaped" in caught.value.problem
    assert "onnxruntime_src" not in caught.value.problem


@pytest.mark.parametrize(
    ("broken", "problem", "remedy"),
    [
        (model(node("Identity"), opset=99), "till opset 26", "--opset"),
        (model(node("Identity"), ir_version=99), "Unsupported model IR version: 99", "--opset"),
        (model(node("Nonsense")), "No Op registered for Nonsense", "another engine"),
        (model(node("Nonsense", domain="my.own")), "my.own:Nonsense", "another engine"),
        (model(node("Softplus"), dtype=TensorProto.BFLOAT16, opset=22), "Softplus", "another engine"),
        (model(node("Relu", "nowhere")), "nowhere", "onnx.checker"),
    ],
    ids=["opset", "ir", "operator", "foreign operator", "no kernel", "dangling"],
)
def test_a_refused_model_says_what_it_wants(
    tmp_path: Path, broken: onnx.ModelProto, problem: str, remedy: str
) -> None:
    artifact = save_artifact(broken, SPEC, tmp_path / "broken.onnx")
    with pytest.raises(EngineError) as caught:
        opened(artifact)
    assert not isinstance(caught.value, EngineUnavailableError)
    assert "broken.onnx does not open in ONNX Runtime" in caught.value.problem
    assert problem in caught.value.problem
    assert "onnxruntime_src" not in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"no model at all" * 9, None])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match="does not open") as caught:
        opened(Artifact(path, SPEC))
    assert ("copy it again" if content is not None else "Check the path") in caught.value.remedy


def test_external_weights_are_found_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = model(node("Add", "x", "w"), w=np.ones((3, 1, 1), np.float32))
    path = tmp_path / "large.onnx"
    onnx.save_model(large, path, save_as_external_data=True, location="large.data", size_threshold=0)
    monkeypatch.chdir("/")
    with opened(Artifact(path, SPEC)) as engine:
        assert np.array_equal(engine.run(BATCH), BATCH.reshape(2, 3) + 1)
    (tmp_path / "large.data").write_bytes(b"")
    with pytest.raises(EngineError, match="does not open") as cut:
        opened(Artifact(path, SPEC))
    (tmp_path / "large.data").unlink()
    with pytest.raises(EngineError, match="does not open") as gone:
        opened(Artifact(path, SPEC))
    assert cut.value.remedy == gone.value.remedy
    assert "same folder" in gone.value.remedy


def test_a_runtime_without_the_provider_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["OtherExecutionProvider"])
    with pytest.raises(EngineUnavailableError, match="OtherExecutionProvider instead of CPU") as caught:
        OrtEngine.check()
    assert "pip install" in caught.value.remedy


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    artifact = save_artifact(model(node("Nonsense")), SPEC, tmp_path / "broken.onnx")
    with pytest.raises(EngineError):
        opened(artifact)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[SessionOptions]:
    """The settings of every session that is opened."""
    seen: list[SessionOptions] = []
    real = ort_session.open_session

    def open_session(path: Any, settings: SessionOptions, providers: Any) -> Any:
        seen.append(settings)
        return real(path, settings, providers)

    monkeypatch.setattr(ort, "open_session", open_session)
    return seen


def test_arena_and_spinning_can_be_switched_off(tmp_path: Path, settings: list[SessionOptions]) -> None:
    artifact = save_artifact(model(node("Identity")), SPEC, tmp_path / "m.onnx")
    for options in (EngineOptions(threads=1), EngineOptions(threads=1, arena=False, spin=False)):
        with OrtEngine(artifact, options) as engine:
            assert np.array_equal(engine.run(BATCH), BATCH.reshape(2, 3))
    spinning = [one.get_session_config_entry("session.intra_op.allow_spinning") for one in settings]
    assert [one.enable_cpu_mem_arena for one in settings] == [True, False]
    assert spinning == ["1", "0"]


def test_what_was_quantised_for_arm_runs_with_its_own_types(
    tmp_path: Path, settings: list[SessionOptions]
) -> None:
    """The key is that of the sessions in which ``edgecnn quantize`` judges accuracy."""
    for signed in (True, False):
        scheme = str(Scheme(signed_activations=signed))
        done = Quantization(recipe="auto", target="ort", scheme=scheme, source_sha256="0")
        spec = replace(SPEC, quantization=done)
        opened(save_artifact(model(node("Identity")), spec, tmp_path / "m.onnx")).close()
    assert settings[0].get_session_config_entry("session.qdqisint8allowed") == "1"
    with pytest.raises(RuntimeError, match="qdqisint8allowed"):  # it was not set
        settings[1].get_session_config_entry("session.qdqisint8allowed")

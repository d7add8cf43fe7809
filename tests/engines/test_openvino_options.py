"""What OpenVINO is asked for with options, and what it then really does."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.artifact import Artifact, save_artifact
from edgecnn.cache import CACHE_VARIABLE
from edgecnn.engines import EngineOptions
from edgecnn.environment import usable_cores
from edgecnn.errors import EngineError
from tests.engines.tiny_model import SPEC

if find_spec("openvino") is None:  # importorskip would import it, and so report to Intel
    pytest.skip("OpenVINO is not installed", allow_module_level=True)

from edgecnn.engines import openvino_model
from edgecnn.engines.openvino import OpenVinoEngine

BATCH = np.arange(1, 7, dtype=np.float32).reshape(2, 3, 1, 1)
#: More digits than bfloat16 has.
PRECISE = np.float32(1 + 2**-9)

needs_bf16 = pytest.mark.skipif("BF16" not in openvino_model._able(), reason="the CPU has no bfloat16")


def scaled(path: Path, by: float = float(PRECISE), batch: int | str = "n") -> Artifact:
    """A convolution that multiplies each channel."""
    weights = (np.eye(3, dtype=np.float32) * np.float32(by)).reshape(3, 3, 1, 1)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3, 1, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = replace(SPEC, input=replace(SPEC.input, shape=(batch, 3, 1, 1)))
    return save_artifact(made, spec, path)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return scaled(tmp_path / "m.onnx")


@pytest.fixture
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of compiled models."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


@needs_bf16
def test_bfloat16_is_used_when_asked_for_and_reported(artifact: Artifact) -> None:
    with OpenVinoEngine(artifact, EngineOptions(threads=1, precision="bf16")) as engine:
        assert engine.info.precision == "bf16"
        scores = engine.run(BATCH)
    exact = (BATCH * PRECISE).reshape(2, 3)
    assert not np.array_equal(scores, exact)
    assert np.allclose(scores, exact, rtol=2**-7)


def test_a_precision_that_the_cpu_lacks_is_an_error(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_model, "_able", lambda: ["FP32", "INT8"])
    with pytest.raises(EngineError, match=r"does not compute in bf16: OpenVINO finds fp32\.") as caught:
        OpenVinoEngine(artifact, EngineOptions(precision="bf16"))
    assert "another precision" in caught.value.remedy


def test_a_precision_that_is_not_honoured_is_an_error(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_model, "_able", lambda: ["FP32", "FP16"])
    monkeypatch.setitem(openvino_model._TYPES, "fp16", "f32")
    with pytest.raises(EngineError, match="asked for fp16, and runs this model in fp32"):
        OpenVinoEngine(artifact, EngineOptions(precision="fp16"))


@needs_bf16
def test_int8_layers_stay_in_int8_whatever_the_precision_of_the_others(tmp_path: Path) -> None:
    """A quantised convolution, whose kernel OpenVINO says to be in 8 bits."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
    constants: dict[str, np.ndarray] = {
        "scale": np.array(0.05, np.float32),
        "zero": np.array(128, np.uint8),
        "w": weights,
        "w_scale": np.array(0.01, np.float32),
        "w_zero": np.array(0, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["v"]),
        helper.make_node("Conv", ["d", "v"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8, 1, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    spec = replace(
        SPEC,
        precision="int8",
        classes=tuple("abcdefgh"),
        input=replace(SPEC.input, shape=("n", 3, 8, 8)),
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    artifact = save_artifact(made, spec, tmp_path / "int8.onnx")
    for precision in (None, "fp32", "bf16"):
        with OpenVinoEngine(artifact, EngineOptions(threads=1, precision=precision)) as engine:
            assert engine.info.precision == "int8"


def test_an_int8_file_whose_layers_run_in_float_is_not_said_to_be_int8(artifact: Artifact) -> None:
    wrong = Artifact(artifact.path, replace(artifact.spec, precision="int8"))
    with OpenVinoEngine(wrong, EngineOptions(threads=1)) as engine:
        assert engine.info.precision == "fp32"


def test_throughput_divides_the_threads_into_streams(artifact: Artifact) -> None:
    with OpenVinoEngine(artifact, EngineOptions()) as engine:
        assert engine.info.streams == 1
    if usable_cores() == 1:
        pytest.skip("one core has one stream")
    with OpenVinoEngine(artifact, EngineOptions(hint="throughput", streams=2, threads=2)) as engine:
        assert (engine.info.threads, engine.info.streams) == (2, 2)


def test_more_streams_than_threads_are_refused(artifact: Artifact) -> None:
    with pytest.raises(EngineError, match="asked for 5 streams, and makes 1 of the 1 threads") as caught:
        OpenVinoEngine(artifact, EngineOptions(threads=1, streams=5))
    assert "streams=1" in caught.value.remedy


def test_a_fixed_batch_is_the_only_one_that_runs(artifact: Artifact) -> None:
    with OpenVinoEngine(artifact, EngineOptions(threads=1, batch=2)) as engine:
        assert np.array_equal(engine.run(BATCH), (BATCH * PRECISE).reshape(2, 3))
        assert engine.spec.input.shape == (2, 3, 1, 1)
        with pytest.raises(EngineError, match=r"takes float32\[2, 3, 1, 1\]"):
            engine.run(BATCH[:1])


def test_another_batch_than_the_artifact_is_fixed_to_is_refused(tmp_path: Path) -> None:
    fixed = scaled(tmp_path / "m.onnx", batch=2)
    with pytest.raises(EngineError, match="is fixed to a batch of 2, and 8 is asked for") as caught:
        OpenVinoEngine(fixed, EngineOptions(batch=8))
    assert "--batch dynamic" in caught.value.remedy


def test_nothing_is_cached_unless_asked_for(artifact: Artifact, blobs: Path) -> None:
    OpenVinoEngine(artifact, EngineOptions(threads=1)).close()
    assert not blobs.exists()


def test_the_cache_answers_as_the_model_does(artifact: Artifact, blobs: Path) -> None:
    cached = EngineOptions(threads=1, cache=True)
    for _ in range(2):
        with OpenVinoEngine(artifact, cached) as engine:
            assert np.array_equal(engine.run(BATCH), (BATCH * PRECISE).reshape(2, 3))
            assert engine.info.precision == "fp32"
    assert len(list(blobs.iterdir())) == 1


def test_each_model_and_each_setting_has_an_entry_of_its_own(
    artifact: Artifact, blobs: Path, tmp_path: Path
) -> None:
    cached = EngineOptions(threads=1, cache=True)
    OpenVinoEngine(artifact, cached).close()
    OpenVinoEngine(artifact, replace(cached, batch=1)).close()
    OpenVinoEngine(artifact, replace(cached, hint="throughput")).close()
    other = scaled(tmp_path / "m.onnx", by=3)  # in the place of the first
    with OpenVinoEngine(other, cached) as engine:
        assert np.array_equal(engine.run(BATCH), BATCH.reshape(2, 3) * 3)
    assert len(list(blobs.iterdir())) == 4


def test_a_damaged_entry_is_made_again(
    artifact: Artifact, blobs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached = EngineOptions(threads=1, cache=True)
    OpenVinoEngine(artifact, cached).close()
    (entry,) = blobs.iterdir()
    whole = entry.read_bytes()
    for damage in (b"", b"nonsense" * 9):
        entry.write_bytes(damage)
        with OpenVinoEngine(artifact, cached) as engine:
            assert np.array_equal(engine.run(BATCH), (BATCH * PRECISE).reshape(2, 3))
        assert len(entry.read_bytes()) == len(whole)
    assert "damaged" in caplog.text


def test_a_cache_that_cannot_be_written_is_told_and_no_failure(
    artifact: Artifact, blobs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blobs.parent.write_text("a file where the folder should be")
    with OpenVinoEngine(artifact, EngineOptions(threads=1, cache=True)) as engine:
        assert engine.run(BATCH).shape == (2, 3)
    assert "cannot be cached" in caplog.text

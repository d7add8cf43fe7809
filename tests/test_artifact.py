"""Artifacts: what is saved is read back, atomically, with its spec; what is broken is named."""

from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn import artifact as module
from edgecnn.artifact import (
    Artifact,
    graph_input,
    graph_output,
    open_artifact,
    read_onnx,
    save_artifact,
)
from edgecnn.errors import ArtifactError, SpecMissingError
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId


@pytest.fixture
def model() -> onnx.ModelProto:
    """Scores = mean over pixels, times a matrix of 3 x 5."""
    matrix = numpy_helper.from_array(np.arange(15_000, dtype=np.float32).reshape(3, 5000), "matrix")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5000])],
        [matrix],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


@pytest.fixture
def spec(model: onnx.ModelProto) -> ModelSpec:
    return ModelSpec(
        network="tiny",
        classes=tuple(str(index) for index in range(5000)),
        input=graph_input(model),
        output=graph_output(model),
        preprocess=Preprocess(resize=8, crop=(8, 8)),
        weights=WeightsId(kind="random", name="seed=0"),
    )


def test_the_spec_travels_in_the_file(model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path) -> None:
    saved = save_artifact(model, spec, tmp_path / "a" / "m.onnx")
    assert open_artifact(saved.path) == Artifact(saved.path, spec)
    assert [file.name for file in saved.path.parent.iterdir()] == ["m.onnx"]
    onnx.checker.check_model(str(saved.path))


def test_saving_again_replaces_the_spec(model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    save_artifact(model, spec, path)
    save_artifact(read_onnx(path), replace(spec, network="other"), path)
    assert open_artifact(path).spec.network == "other"
    assert len(onnx.load(path).metadata_props) == 1


def test_graph_values_are_described(model: onnx.ModelProto) -> None:
    assert graph_input(model) == TensorSpec(name="x", dtype="float32", shape=("batch", 3, 8, 8))
    assert graph_output(model).shape == ("batch", 5000)


def test_an_initialiser_listed_as_input_does_not_count(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("matrix", TensorProto.FLOAT, [3, 5000]))
    assert graph_input(model).name == "x"


def test_two_outputs_are_refused_by_name(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, None))
    with pytest.raises(ArtifactError, match=r"2 outputs \(y, flat\)"):
        graph_output(model)


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x08\x07"])
def test_a_file_that_is_no_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"m\.onnx"):
        open_artifact(path)


@pytest.mark.parametrize("ending", ["json", "textproto", "onnxtxt", "data"])
def test_the_content_tells_a_model_not_the_ending(
    ending: str, model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path
) -> None:
    path = save_artifact(model, spec, tmp_path / f"m.{ending}").path
    assert open_artifact(path).spec == spec
    path.write_text('{"schema": "edgecnn.bench/1"}\n')
    with pytest.raises(ArtifactError, match=rf"m\.{ending} is not a readable ONNX file"):
        open_artifact(path)


def test_a_truncated_model(model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path) -> None:
    path = save_artifact(model, spec, tmp_path / "m.onnx").path
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ArtifactError, match="not a readable ONNX file"):
        open_artifact(path)


def test_onnx_is_loaded_no_sooner_than_a_file_is_read() -> None:
    """What measures an engine's memory has not loaded it: the engine would fill what that leaves free."""
    script = "import sys, edgecnn.engines.footprint; print('onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such model file"):
        open_artifact(tmp_path / "none.onnx")


def test_a_foreign_model_needs_a_spec(model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path)
    with pytest.raises(SpecMissingError, match="--spec"):
        open_artifact(path)
    assert open_artifact(path, spec).spec == spec


def test_a_full_disk_leaves_the_old_file(
    model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_artifact(model, spec, tmp_path / "m.onnx").path
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        save_artifact(model, replace(spec, network="new"), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_an_interrupt_leaves_the_old_file(
    model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_artifact(model, spec, tmp_path / "m.onnx").path

    def interrupted(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_artifact(model, replace(spec, network="new"), path)
    assert open_artifact(path).spec == spec
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


@pytest.fixture
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SINGLE_FILE_BYTES", 10_000)


@pytest.mark.usefixtures("_small_limit")
def test_large_weights_go_beside_the_model_and_belong_to_it(
    model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path
) -> None:
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    saved = save_artifact(model, spec, tmp_path / "m.onnx")
    assert len(saved.files()) == 2
    assert saved.size_bytes() > 60_000
    assert np.array_equal(numpy_helper.to_array(read_onnx(saved.path).graph.initializer[0]), weights)
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[0]), weights), (
        "the model in memory changed"
    )


@pytest.mark.usefixtures("_small_limit")
def test_saving_large_weights_again_removes_the_old_ones(
    model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    first = save_artifact(model, spec, path)
    old, digest = first.files(), first.sha256()
    again = save_artifact(read_onnx(path), spec, path)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in again.files()}
    assert old[1] not in again.files()
    assert again.sha256() != digest  # the model names another weights file


@pytest.mark.usefixtures("_small_limit")
def test_a_failure_with_large_weights_leaves_the_old_artifact(
    model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    saved = save_artifact(model, spec, path)
    before = sorted(tmp_path.iterdir())

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("onnx.external_data_helper.load_external_data_for_model", full)
    with pytest.raises(ArtifactError, match="No space left"):
        save_artifact(model, spec, path)
    monkeypatch.undo()
    assert sorted(tmp_path.iterdir()) == before
    read_onnx(saved.path)


@pytest.mark.usefixtures("_small_limit")
def test_missing_external_weights_are_named(model: onnx.ModelProto, spec: ModelSpec, tmp_path: Path) -> None:
    saved = save_artifact(model, spec, tmp_path / "m.onnx")
    saved.files()[1].unlink()
    with pytest.raises(ArtifactError, match="external weights"):
        read_onnx(saved.path)

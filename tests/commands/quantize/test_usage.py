"""``edgecnn quantize``: what makes no sense is told before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecnn.artifact import graph_input, graph_output, open_artifact, read_onnx, save_artifact
from tests.commands.quantize.running import NODES, SIDE, Case, GraphOf, quantize, weights


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
    result = quantize(case.model, *arguments)
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.stderr
    assert not list(Path().glob("*.onnx"))


@pytest.mark.parametrize("recipe", ["auto", "minmax", "entropy"])
def test_images_are_needed(recipe: str, case: Case) -> None:
    result = quantize(case.model, "--recipe", recipe)
    assert result.exit_code == 2
    assert "--calib" in result.stderr
    assert not list(Path().glob("*.onnx"))


def test_the_model_is_not_overwritten(case: Case) -> None:
    before = case.model.read_bytes()
    result = quantize(
        case.model, "--calib", case.calib, "-o", case.model.parent / ".." / "models" / "small.onnx"
    )
    assert result.exit_code == 1
    assert "is the model itself" in result.stderr
    assert "-o" in result.stderr
    assert case.model.read_bytes() == before


def test_a_place_that_cannot_be_written_is_told_first(case: Case) -> None:
    Path("file").touch()
    result = quantize(case.model, "--calib", case.calib, "-o", "file/q.onnx")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert "Ranges" not in result.stderr


def test_evaluating_on_the_calibration_images_is_refused(case: Case) -> None:
    result = quantize(case.model, "--calib", case.calib, "--data", case.calib)
    assert result.exit_code == 1
    assert "all of its images are among those" in result.stderr


def test_a_fixed_batch_under_a_spec_of_any_is_told_first(case: Case) -> None:
    """As of a file whose graph another tool has changed."""
    model, spec = read_onnx(case.model), open_artifact(case.model).spec
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    path = save_artifact(model, spec, Path("fixed.onnx")).path
    result = quantize(path, "--calib", case.calib, "--recipe", "minmax", "-o", "q.onnx")
    assert result.exit_code == 1
    assert "fixed.onnx: its input 'x' is fixed to a batch of 1, and its spec says any" in result.stderr
    assert "--batch dynamic" in result.stderr
    assert "Ranges" not in result.stderr
    spec = replace(spec, input=graph_input(model), output=graph_output(model))
    save_artifact(model, spec, path)
    done = quantize(path, "--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "-o", "q.onnx")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("recipe", ["minmax", "fp16", "dynamic", "weights"])
def test_a_batch_that_is_fixed_within_the_graph_is_told(recipe: str, graph_of: GraphOf, case: Case) -> None:
    """As exporters leave it that wrote down the shape of their one example image."""
    nodes = NODES.replace("f = Flatten(p)", "f = Reshape(p, one)")
    model = graph_of(nodes, weights() | {"one": np.array([1, 8])}, f"3,{SIDE},{SIDE}")
    spec = open_artifact(case.model).spec
    path = save_artifact(model, spec, Path("inner.onnx")).path
    result = quantize(path, "--calib", case.calib, "--recipe", recipe, "-o", "q.onnx")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "takes one image and fails on 2, though its input 'x'" in result.stderr

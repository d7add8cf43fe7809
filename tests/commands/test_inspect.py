"""``edgecnn inspect``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from edgecnn.artifact import save_artifact
from edgecnn.cli import main
from edgecnn.spec import (
    ModelSpec,
    Parity,
    Preprocess,
    Provenance,
    Quantization,
    QuantizationAccuracy,
    TensorSpec,
    WeightsId,
)

SPEC = ModelSpec(
    network="tiny",
    classes=("cat", "dog", "eel", "fox", "gnu"),
    input=TensorSpec(name="x", dtype="float32", shape=("batch", 3, 4, 4)),
    output=TensorSpec(name="y", dtype="float32", shape=("batch", 5, 1, 1)),
    preprocess=Preprocess(resize=5, crop=(4, 4)),
    weights=WeightsId(kind="file", name="tiny.pth", sha256="ab12"),
    provenance=Provenance(
        exporter="dynamo",
        opset=17,
        versions={"torch": "2.13"},
        parity=Parity(images=8, max_abs=1e-6, max_rel=1e-7, sqnr_db=120.25, top1_agreement=100.0),
    ),
)


def quantised() -> onnx.ModelProto:
    """One convolution of uint8 activations with int8 weights, between pairs."""
    constants: dict[str, Any] = {
        "xs": np.array(0.5, np.float32),
        "xz": np.array(10, np.uint8),
        "w": np.ones((5, 3, 4, 4), np.int8),
        "ws": np.array([1, 2, 3, 4, 5], np.float32),
        "wz": np.zeros(5, np.int8),
        "ys": np.array(0.25, np.float32),
        "yz": np.array(0, np.uint8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["c"], name="features.0/Conv"),
        helper.make_node("QuantizeLinear", ["c", "ys", "yz"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5, 1, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return save_artifact(quantised(), SPEC, tmp_path / "tiny.onnx").path


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "foreign.onnx"
    onnx.save(quantised(), path)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def facts(result: Result) -> dict[str, str]:
    """The lines before the tables."""
    lines = result.stdout.split("\n\n")[0].splitlines()
    return {line[:17].strip(): line[17:] for line in lines}


def rows(result: Result) -> list[list[str]]:
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_the_spec_line_by_line(artifact: Path) -> None:
    result = run(artifact)
    assert result.exit_code == 0
    found = facts(result)
    assert found["network"] == "tiny"
    assert found["classes"] == "5 (cat, dog, ..., gnu)"
    assert found["input"] == "x: float32 (batch, 3, 4, 4)"
    assert found["preprocess"] == (
        "resize short side to 5 (bilinear, antialiased), crop 4x4, RGB, /255, "
        "mean 0.485 0.456 0.406, std 0.229 0.224 0.225"
    )
    assert found["weights"] == "file: tiny.pth (sha256 ab12)"
    assert found["exporter"] == "dynamo, opset 17"
    assert found["made with"] == "torch 2.13"
    assert "on 8 images" in found["parity"]
    assert "SQNR 120.2 dB" in found["parity"]
    assert found["operators"] == "DequantizeLinear 3, QuantizeLinear 2, Conv 1"
    assert found["size"].endswith(f"({artifact.stat().st_size:,} bytes)")
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("preprocess", "line"),
    [
        (
            Preprocess(resize=None, crop=(4, 4), in_graph=True),
            "no resize, crop 4x4, RGB, .*; normalised in the graph",
        ),
        (Preprocess(resize=(8, 6), crop=(4, 4), antialias=False), r"resize 8x6 \(bilinear\), crop 4x4"),
    ],
)
def test_other_preprocessing(tmp_path: Path, preprocess: Preprocess, line: str) -> None:
    spec = replace(SPEC, preprocess=preprocess, provenance=Provenance())
    found = facts(run(save_artifact(quantised(), spec, tmp_path / "other.onnx").path))
    assert re.match(line, found["preprocess"])
    assert found["parity"] == "not measured"


def test_what_is_stored_and_what_it_multiplies_in(artifact: Path) -> None:
    result = run(artifact)
    stored, precisions = rows(result)[:-1], rows(result)[-1]
    assert stored[0][:3] == ["int8", "2", "245"]
    assert precisions == ["int8", "Conv 1", "0.00", "100.0"]
    assert "As written in the file" in result.stdout
    assert "edgecnn quantize" in result.stdout


def test_layers(artifact: Path) -> None:
    assert "features.0/Conv" not in run(artifact).stdout
    row = rows(run(artifact, "--layers"))[-1]
    assert row == [
        *("features.0/Conv", "Conv", "1x5x1x1", "int8", "0.000", "240"),
        *("-5..122.5 (0.5, 10)", "0..63.75 (0.25, 0)", "1..5 per-channel"),
    ]


def test_a_file_made_elsewhere_needs_no_spec(foreign: Path) -> None:
    result = run(foreign, "--layers")
    assert result.exit_code == 0
    found = facts(result)
    assert found["spec"].startswith("none: ")
    assert found["graph inputs"] == "x: FLOAT, batchx3x4x4"
    assert "network" not in found
    assert rows(result)[-1][0] == "features.0/Conv"


def test_a_spec_that_is_given_is_shown(foreign: Path, tmp_path: Path) -> None:
    said = tmp_path / "spec.json"
    said.write_text('{"preprocess": {"resize": 5, "crop": [4, 4]}, "classes": ["a", "b", "c", "d", "e"]}')
    result = run(foreign, "--spec", said)
    assert result.exit_code == 0
    assert facts(result)["network"] == "foreign"
    assert facts(result)["classes"] == "5 (a, b, ..., e)"


def test_json_holds_everything(artifact: Path, foreign: Path) -> None:
    document = json.loads(run(artifact, "--json").stdout)
    assert document["spec"]["classes"] == list(SPEC.classes)
    assert document["inventory"]["macs"] == 240
    (layer,) = document["inventory"]["layers"]
    assert layer["inputs"][0] == {"dtype": "uint8", "scale": 0.5, "zero_point": 10, "low": -5, "high": 122.5}
    assert layer["weight_scales"]["granularity"] == "per-channel"
    assert json.loads(run(foreign, "--json").stdout)["spec"] is None


def test_a_model_without_products(reader: Callable[..., Path]) -> None:
    result = run(reader())
    assert result.exit_code == 0
    assert "There are no convolutions and no matrix products." in result.stdout


def test_the_record_of_a_quantisation(tmp_path: Path) -> None:
    accuracy = QuantizationAccuracy(
        data="photos",
        fingerprint="cd34",
        n=700,
        reference_top1=80.5,
        top1=80.1,
        drop=0.4,
        drop_ci95=(-0.2, 1.0),
        agreement=97.5,
    )
    record = Quantization(
        recipe="auto",
        target="ort",
        scheme="uint8 x int8",
        source_sha256="ef56",
        steps=("a", "b"),
        accuracy=accuracy,
    )
    spec = replace(SPEC, quantization=record)
    result = run(save_artifact(quantised(), spec, tmp_path / "int8.onnx").path)
    lines = (line.split(maxsplit=1) for line in result.stdout.splitlines() if " " in line)
    found = {parts[0]: parts[1].strip() for parts in lines if len(parts) == 2}
    assert found["quantised"] == "recipe auto for ort: uint8 x int8"
    assert found["steps"] == "a; b"
    assert "top-1 80.10 % of 700 images of photos" in found["accuracy"]
    assert "drop 0.40 points (95 % interval -0.20 to 1.00)" in found["accuracy"]
    assert "speed" not in found


def test_a_model_that_was_not_quantised_has_no_record(artifact: Path) -> None:
    assert "quantised" not in run(artifact).stdout


@pytest.mark.parametrize(("name", "code"), [("nothing.onnx", 2), ("weights.pth", 2), ("text.onnx", 1)])
def test_what_is_no_model(tmp_path: Path, name: str, code: int) -> None:
    if name != "nothing.onnx":
        (tmp_path / name).write_text("not a model")
    result = run(tmp_path / name)
    assert result.exit_code == code
    assert result.stderr.startswith(("Error", "Usage"))
    assert "Traceback" not in result.output

"""``edgecnn export`` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgecnn.artifact import open_artifact
from edgecnn.cli import main
from edgecnn.spec import decode_spec


def _export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_export_prints_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    result = _export("squeezenet1_1", "--weights", "random", "--seed", "3", "--size", "32", "-o", path)
    assert result.exit_code == 0, result.output
    assert "1000 classes" in result.stdout
    assert "top-1 agreement 100 % of 8 images" in result.stdout
    assert open_artifact(path).spec.weights.name == "seed=3"


@pytest.mark.slow
def test_json_spec_and_classes(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    path = tmp_path / "m.onnx"
    arguments = ("squeezenet1_1", "--weights", "random", "--size", "32", "--classes", names, "-o", path)
    result = _export(*arguments, "--spec-out", tmp_path / "spec.json", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["artifact"] == str(path)
    assert document["spec"]["classes"] == ["cat", "dog"]
    spec = decode_spec((tmp_path / "spec.json").read_bytes(), origin="spec.json")
    assert spec == open_artifact(path).spec


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["mobilnet_v2"], 2, "Did you mean mobilenet_v2"),
        (["alexnet", "--batch", "0"], 2, "positive number"),
        (["alexnet", "--size", "big"], 2, "big"),
        (["alexnet", "--opset", "17"], 2, "--exporter torchscript"),
        (["alexnet", "--weights", "none.pth"], 1, "none.pth"),
        (["alexnet", "--check-image", "none.jpg"], 1, "none.jpg"),
        (["alexnet", "--classes", "none.txt"], 1, "none.txt"),
        (["alexnet", "-o", "."], 1, "it is a folder"),
        (["alexnet", "-o", "/proc/m.onnx"], 1, "/proc/m.onnx cannot be written"),
        (["squeezenet1_1", "--weights", "random", "--size", "8"], 2, "does not take an input of 8x8"),
    ],
)
def test_bad_input(
    arguments: list[str], code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _export(*arguments)
    assert result.exit_code == code, result.output
    assert told in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_spec_that_cannot_be_written_is_named_and_the_model_is_there(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    arguments = ("squeezenet1_1", "--weights", "random", "--size", "32", "-o", path)
    result = _export(*arguments, "--spec-out", "/proc/spec.json")
    assert result.exit_code == 1
    assert "/proc/spec.json cannot be written" in result.stderr
    assert "--spec-out" in result.stderr
    assert path.is_file()


def test_empty_class_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\n\ndog\n")
    result = _export("alexnet", "--classes", tmp_path / "names.txt")
    assert result.exit_code == 2
    assert "empty class names" in result.stderr

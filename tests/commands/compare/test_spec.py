"""``edgecnn compare --spec``: model files made elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from edgecnn.artifact import del_spec, read_onnx
from edgecnn.commands import compare as compare_command
from edgecnn.commands.model_argument import resolve_model
from edgecnn.reports.result_file import read_results
from tests.commands.compare.running import Make, Stubs, compare
from tests.reader_model import CLASSES


@pytest.fixture(autouse=True)
def _really_resolved(stubs: Stubs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_command, "resolve_model", resolve_model)


@pytest.fixture
def foreign(reader: Make) -> Make:
    """Writes the reader as others would: without a spec."""

    def write(name: str) -> Path:
        model = read_onnx(path := reader(name))
        del_spec(model)
        onnx.save(model, path)
        return path

    return write


def _spec(path: Path, network: str, classes: tuple[str, ...] = CLASSES) -> Path:
    preprocess = {"resize": None, "crop": [4, 4]}
    path.write_text(json.dumps({"preprocess": preprocess, "classes": classes, "network": network}))
    return path


def test_a_spec_for_all_and_for_one(foreign: Make, folder: Make, tmp_path: Path, place: Path) -> None:
    one, other = foreign("one.onnx"), foreign("other.onnx")
    specs = _spec(tmp_path / "all.json", "theirs"), _spec(tmp_path / "other.json", "the_other")
    result = compare(
        one, other, "--spec", specs[0], "--spec", f"{other}={specs[1]}", "--data", folder([1, 2])
    )
    assert result.exit_code == 0, result.output
    found = read_results(place / "comparison" / "results.json").results
    assert [each.variant.network for each in found] == ["theirs", "theirs", "the_other", "the_other"]
    assert all(each.accuracy is not None for each in found)


def test_without_it_the_error_says_what_to_pass(foreign: Make) -> None:
    result = compare(foreign("one.onnx"), "--precision", "fp32")
    assert result.exit_code == 1
    assert "Pass --spec NETWORK" in result.output


def test_what_was_measured_with_another_spec_is_not_taken(
    stubs: Stubs, foreign: Make, folder: Make, tmp_path: Path, place: Path
) -> None:
    model, data = foreign("one.onnx"), folder([1, 2])
    spec = _spec(tmp_path / "spec.json", "theirs")
    for _ in range(2):
        compare(model, "--spec", spec, "--data", data)
    assert stubs.measured == 1
    _spec(spec, "theirs", ("class 0", "class 2", "class 1", *CLASSES[3:]))
    result = compare(model, "--spec", spec, "--data", data)
    assert result.exit_code in (0, 3), result.output
    assert stubs.measured == 2
    found = read_results(place / "comparison" / "results.json").results
    assert [each.accuracy and each.accuracy.top1 for each in found] == [0.0, 0.0]


def test_a_file_that_was_moved_is_not_measured_again(stubs: Stubs, foreign: Make, tmp_path: Path) -> None:
    model, spec = foreign("one.onnx"), _spec(tmp_path / "spec.json", "theirs")
    compare(model, "--spec", spec, "--precision", "fp32")
    compare(model.rename(tmp_path / "moved.onnx"), "--spec", spec, "--precision", "fp32")
    assert stubs.measured == 1

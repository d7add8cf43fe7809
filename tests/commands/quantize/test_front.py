"""The mixed precisions that ``edgecnn quantize`` tried, as a file and as a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from PIL import Image

from edgecnn.artifact import open_artifact
from edgecnn.quantize.mixed_precision import Judge, MixedPoint, RelativeLatency
from tests.commands.quantize.running import Case, quantize

Build = Callable[[Collection[str]], onnx.ModelProto]


def _two_points(build: Build, judge: Judge, *_: object) -> list[MixedPoint]:
    points = [judge.point(label, kept, build(kept)) for label, kept in (("all in int8", ()), ("+ a", ("a",)))]
    return [replace(points[0], met=False), replace(points[1], met=True)]


def test_the_front_is_saved_and_drawn(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "latency_over", lambda *_: RelativeLatency())
    result = quantize(case.model, "--calib", case.calib, "--data", case.data, "--json", "-o", "q.onnx")
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


def test_the_choice_is_marked_and_explained(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "latency_over", lambda *_: RelativeLatency())
    monkeypatch.setattr("edgecnn.quantize.auto.search_mixed_precision", _two_points)
    result = quantize(case.model, "--calib", case.calib, "--data", case.data, "-o", "q.onnx")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    (marked,) = [line for line in lines if "chosen" in line]
    assert "+ a" in marked
    assert any(line.startswith("Chosen: + a. It is the fastest of those within") for line in lines)


def test_a_file_made_otherwise_has_no_front_of_the_one_before(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "latency_over", lambda *_: RelativeLatency())
    arguments = (case.model, "--calib", case.calib, "--max-drop", "100", "-o", "q.onnx")
    assert quantize(*arguments).exit_code == 0
    assert Path("q.front.json").exists()
    assert quantize(*arguments, "--recipe", "minmax").exit_code == 0
    assert [path.name for path in Path().glob("q.*")] == ["q.onnx"]


def test_nodes_kept_by_the_user_do_not_hide_the_choice(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "latency_over", lambda *_: RelativeLatency())
    result = quantize(
        case.model, "--calib", case.calib, "--keep-float", "a", "--max-drop", "100", "-o", "q.onnx"
    )
    assert result.exit_code == 0, result.output
    points = json.loads(Path("q.front.json").read_text())["points"]
    assert [point["chosen"] for point in points].count(True) == 1


def test_no_front_where_nothing_was_searched(case: Case) -> None:
    result = quantize(case.model, "--calib", case.calib, "--recipe", "minmax")
    assert result.exit_code == 0, result.output
    assert "All that was tried" not in result.stdout
    assert sorted(path.name for path in Path().glob("small*")) == ["small.int8.onnx"]

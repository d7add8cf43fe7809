"""``edgecnn validate`` at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from edgecnn.artifact import open_artifact, read_onnx, save_artifact
from edgecnn.cli import main
from edgecnn.reports.result import ResultFile
from edgecnn.reports.result_file import decode_results, read_results

Make = Callable[..., Path]


def _validate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["validate", *map(str, arguments)])


def _document(result: Result) -> ResultFile:
    return decode_results(result.stdout, origin="standard output")


def _rows(result: Result) -> list[list[str]]:
    """The cells of all table rows."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_the_table_has_accuracy_with_its_interval(reader: Make, folder: Make) -> None:
    data = folder(labels=[1, 2, 3, 4], stated=[1, 2, 3, 9])
    result = _validate(reader(), "--data", data)
    assert result.exit_code == 0, result.output
    (row,) = _rows(result)
    assert row[:7] == ["reader.onnx", "ort", "fp32", "4", "75.00", "30.1-95.4", "75.00"]
    assert "4 images of" in result.stdout
    assert result.stderr == ""


def test_json_goes_to_standard_output_and_to_a_file(reader: Make, folder: Make, tmp_path: Path) -> None:
    data, output = folder(labels=[1, 2]), tmp_path / "new" / "r.json"
    result = _validate(reader(), "--data", data, "--json", "-o", output)
    assert result.exit_code == 0, result.output
    document = _document(result)
    assert read_results(output) == document
    (only,) = document.results
    assert (only.variant.network, only.variant.batch, only.variant.threads) == ("reader", 8, 1)
    assert only.accuracy is not None
    assert (only.accuracy.n, only.accuracy.top1, only.accuracy.agreement) == (2, 100.0, None)
    assert only.pace is not None
    assert document.environment.cores >= 1


def test_a_reference_adds_the_paired_comparison(reader: Make, folder: Make) -> None:
    data = folder(labels=[1, 2, 3, 4], stated=[1, 2, 3, 5])
    reference, shifted = reader("reference.onnx"), reader("shifted.onnx", shift=-1)
    result = _validate(shifted, "--reference", reference, "--data", data, "--per-class")
    assert result.exit_code == 0, result.output
    first, second, comparison, *classes = _rows(result)
    assert (first[0], second[0]) == ("reference.onnx", "shifted.onnx")
    assert comparison[:7] == ["shifted.onnx", "ort", "-50.00", "0.00", "1", "3", "0.62"]
    assert "Against reference.onnx in ort" in result.stdout
    own = [row for row in classes if len(row) == 6]
    assert [(row[0], row[5]) for row in own] == [
        ("1", "-100.0"),
        ("2", "-100.0"),
        ("3", "-100.0"),
        ("4", "+100.0"),
    ]


def test_the_reference_named_again_runs_once(reader: Make, folder: Make) -> None:
    path, data = reader(), folder(labels=[1, 2])
    result = _validate(path, path, "--reference", path, "--data", data, "--json")
    (only,) = _document(result).results
    assert only.accuracy is not None
    assert only.accuracy.reference is None


def test_equal_scores_are_called_equal(reader: Make, folder: Make) -> None:
    data = folder(labels=[1, 2])
    result = _validate(reader("b.onnx"), "--reference", reader("a.onnx"), "--data", data)
    assert _rows(result)[2] == ["b.onnx", "ort", "+0.00", "100.00", "0", "0", "1", "equal"]


def test_a_drop_within_the_limit_passes_and_beyond_it_exits_with_3(
    reader: Make, folder: Make, tmp_path: Path
) -> None:
    data = folder(labels=[1, 2, 3, 4] * 12, stated=[1, 2, 3, 5] * 12)
    arguments = (reader("s.onnx", shift=-1), "--reference", reader("r.onnx"), "--data", data)
    output = tmp_path / "r.json"
    failed = _validate(*arguments, "--max-drop", "20", "-o", output)
    assert failed.exit_code == 3
    assert "50.00 points below the reference's; --max-drop allows 20" in failed.stderr
    assert len(_rows(failed)) == 3
    gate = read_results(output).results[1].gates[0]
    assert (gate.name, gate.limit, gate.value, gate.held) == ("max_drop", 20.0, 50.0, False)
    held = _validate(*arguments, "--max-drop", "50")
    assert (held.exit_code, held.stderr) == (0, "")


def test_a_drop_that_chance_explains_is_told_and_passes(reader: Make, folder: Make) -> None:
    data = folder(labels=[1, 2, 3, 4], stated=[1, 2, 3, 5])
    shifted = reader("s.onnx", shift=-1)
    result = _validate(shifted, "--reference", reader("r.onnx"), "--data", data, "--max-drop", "0.5")
    assert result.exit_code == 0, result.output
    assert (
        f"Note: {shifted} in ort: top-1 is 50.00 points lower, more than the 0.5 allowed, but within chance "
        "on so few images: measure on more (--data).\n" in result.stderr
    )


@pytest.mark.parametrize("option", [("--max-drop", "1"), ("--reference-engine", "ort")])
def test_what_needs_a_reference_is_wrong_usage_without_one(
    reader: Make, folder: Make, option: tuple[str, str]
) -> None:
    result = _validate(reader(), "--data", folder(labels=[1]), *option)
    assert result.exit_code == 2
    assert "--reference" in result.stderr


def test_bad_images_are_named_and_fail_unless_skipped(reader: Make, folder: Make) -> None:
    data = folder(labels=[1, 2], broken=12)
    failed = _validate(reader(), "--data", data, "--json")
    assert failed.exit_code == 1
    accuracy = _document(failed).results[0].accuracy
    assert accuracy is not None
    assert accuracy.dataset is not None
    assert (accuracy.n, accuracy.dataset.images, len(accuracy.dataset.bad)) == (2, 14, 12)
    assert "broken000.png" in failed.stderr
    assert "0 bytes" in failed.stderr
    assert "2 more images are left out" in failed.stderr
    assert "12 images cannot be used" in failed.stderr
    skipped = _validate(reader(), "--data", data, "--skip-bad")
    assert skipped.exit_code == 0
    assert "broken000.png" in skipped.stderr


def test_a_gate_and_a_bad_image_are_both_told(reader: Make, folder: Make) -> None:
    data = folder(labels=[1, 2] * 8, broken=1)
    models = (reader("s.onnx", shift=-1), "--reference", reader("r.onnx"))
    result = _validate(*models, "--data", data, "--max-drop", "1")
    assert result.exit_code == 1
    assert "1 image cannot be used" in result.stderr
    assert "100.00 points below" in result.stderr


def test_options_of_an_engine_make_another_variant(reader: Make, folder: Make) -> None:
    engines = ["--engine", "ort", "--engine", "ort:threads=2,arena=off"]
    result = _validate(reader(), "--data", folder(labels=[1]), *engines, "--json")
    variants = [row["variant"] for row in json.loads(result.stdout)["results"]]
    assert [(one["threads"], one["options"]) for one in variants] == [(1, ""), (2, "arena=off")]


def test_a_wrong_option_is_told_before_the_data_are_read(reader: Make) -> None:
    result = _validate(reader(), "--data", "/nowhere", "--engine", "ort:streams=2")
    assert result.exit_code == 2
    assert "no option of the engine 'ort' named 'streams'" in result.stderr


def test_only_bad_images_are_an_error(reader: Make, folder: Make) -> None:
    result = _validate(reader(), "--data", folder(labels=[1], stated=[1], broken=0), "--limit", "1")
    assert result.exit_code == 0
    data = folder(labels=[1])
    (data / "class 1" / "000.png").write_bytes(b"junk")
    result = _validate(reader(), "--data", data, "--skip-bad")
    assert result.exit_code == 1
    assert "No image can be used" in result.stderr


def test_a_limit_takes_some_of_the_images(reader: Make, folder: Make) -> None:
    result = _validate(reader(), "--data", folder(labels=list(range(10))), "--limit", "4", "--json")
    accuracy = _document(result).results[0].accuracy
    assert accuracy is not None
    assert accuracy.dataset is not None
    assert (accuracy.n, accuracy.dataset.images) == (4, 4)


def test_a_static_batch_keeps_its_own_size(reader: Make, folder: Make) -> None:
    result = _validate(
        reader(batch=3), "--data", folder(labels=[1, 2, 3, 4, 5, 6, 7]), "--json", "--threads", "2"
    )
    (only,) = _document(result).results
    assert only.variant.batch == 3
    assert only.accuracy is not None
    assert only.accuracy.top1 == 100


def test_a_class_that_the_model_lacks_is_named(reader: Make, tmp_path: Path, image: Make) -> None:
    image(1, "images/a cat/x.png")
    result = _validate(reader(), "--data", tmp_path / "images")
    assert result.exit_code == 1
    assert "'a cat'" in result.stderr


def test_models_with_other_orders_of_the_classes_are_refused(reader: Make, folder: Make) -> None:
    first, other = reader("a.onnx"), reader("b.onnx")
    artifact = open_artifact(other)
    spec = replace(artifact.spec, classes=tuple(reversed(artifact.spec.classes)))
    save_artifact(read_onnx(other), spec, other)
    result = _validate(first, other, "--data", folder(labels=[1, 2]))
    assert result.exit_code == 2
    assert "different orders" in result.stderr


def test_two_files_of_one_name_are_told_apart(reader: Make, folder: Make, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    paths = [reader("one/m.onnx"), reader("two/m.onnx", shift=1)]
    rows = _rows(_validate(*paths, "--data", folder(labels=[1, 2])))
    assert [row[0] for row in rows] == [str(path) for path in paths]


def test_a_network_given_by_name_is_shown_by_it(
    reader: Make, folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    rows = _rows(_validate(reader("cache/artifacts/reader-0123.onnx"), "--data", folder(labels=[1, 2])))
    assert rows[0][0] == "reader"


def test_ties_are_told(reader: Make, folder: Make) -> None:
    path = reader()
    model = read_onnx(path)
    node = next(node for node in model.graph.node if node.op_type == "Neg")
    node.output[0] = "unscaled"
    model.graph.node.append(onnx.helper.make_node("Mul", ["unscaled", "zero"], ["scores"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero"))
    save_artifact(model, open_artifact(path).spec, path)
    result = _validate(path, "--data", folder(labels=[0, 1, 2]))
    assert _rows(result)[0][4] == "33.33"
    assert "3 ties for the first place; the lowest class index counts" in result.stdout


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [("--limit", "0", 2), ("--batch", "0", 2), ("--threads", "0", 2), ("--max-drop", "-1", 2)],
)
def test_impossible_numbers_are_wrong_usage(
    reader: Make, folder: Make, option: str, value: str, code: int
) -> None:
    assert _validate(reader(), "--data", folder(labels=[1]), option, value).exit_code == code


def test_json_leaves_out_what_was_not_measured(reader: Make, folder: Make) -> None:
    result = _validate(reader(), "--data", folder(labels=[1]), "--json")
    (only,) = json.loads(result.stdout)["results"]
    assert set(only) == {"variant", "accuracy", "pace", "gates", "warnings"}
    assert "agreement" not in only["accuracy"]

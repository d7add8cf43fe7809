"""``edgecnn compare``: what fails, what is known from before, and what an interrupt leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgecnn.compare import matrix
from edgecnn.errors import ExportError, WeightsError
from edgecnn.reports import html
from edgecnn.reports import result as schema
from edgecnn.reports.result_file import decode_results
from tests.commands.compare.running import Make, Stubs, compare


def test_accuracy_is_not_measured_on_the_images_that_set_the_ranges(reader: Make, folder: Make) -> None:
    result = compare(reader(), "--data", folder([1, 2, 7]))
    assert result.exit_code == 1
    assert "the accuracy would say nothing of new images" in result.stderr


def test_a_failure_is_told_in_json_too(stubs: Stubs, reader: Make, folder: Make) -> None:
    stubs.refuse["resnet18"] = ExportError("It does not export.", "Try another.")
    result = compare(reader(), "resnet18", "--weights", "random", "--data", folder([1]), "--json")
    assert result.exit_code == 1
    assert [each.error is None for each in decode_results(result.stdout, origin="-").results] == [
        True,
        True,
        False,
        False,
    ]
    assert "It does not export." in result.stderr


def test_a_network_that_does_not_export_is_named_and_the_others_go_on(
    stubs: Stubs, reader: Make, folder: Make
) -> None:
    stubs.refuse["resnet18"] = WeightsError("There are no weights.", "Get some.")
    result = compare("resnet18", reader(), "--weights", "pretrained", "--data", folder([1]))
    assert result.exit_code == 1
    assert "Failed: resnet18 fp32 ort, batch 1: There are no weights. Get some." in result.stdout
    assert "Failed: resnet18 int8 ort, batch 1: There are no weights. Get some." in result.stdout
    assert "│" in result.stdout
    assert stubs.measured == 1


def test_accuracy_that_cannot_be_measured_is_told_with_the_speed(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    data = tmp_path / "pets.npz"
    np.savez(data, x_test=np.zeros((2, 4, 4, 3), np.uint8), y_test=[0, 1], classes=["cat", "dog"])
    result = compare(reader(), "--data", data, "--calib", folder([1, 2]))
    assert result.exit_code == 1
    assert "Warning: The accuracy of" in result.stderr
    assert "no class 'cat', 'dog'" in result.stderr
    assert "10.0" in result.stdout


def test_a_second_run_measures_nothing_unless_it_shall(stubs: Stubs, reader: Make, folder: Make) -> None:
    arguments = (reader(), "--data", folder([1, 2]))
    first, second = compare(*arguments, "--json"), compare(*arguments, "--json")
    again = json.loads(second.stdout)["results"]
    for result in again:
        assert "from an earlier run" in result["warnings"].pop()
    assert json.loads(first.stdout)["results"] == again
    assert stubs.measured == 1
    compare(*arguments, "--fresh")
    assert stubs.measured == 2


@pytest.mark.parametrize(
    ("flags", "said"), [((), "The same command"), (("--fresh",), "Without --fresh, the same command")]
)
def test_an_interrupted_run_says_how_it_goes_on(
    stubs: Stubs,
    reader: Make,
    folder: Make,
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    said: str,
) -> None:
    def interrupted(*_: object) -> list[schema.Result]:
        raise KeyboardInterrupt

    monkeypatch.setattr(matrix, "run_bench", interrupted)
    result = compare(reader(), "--data", folder([1, 2]), "-o", "out", *flags)
    assert result.exit_code == 1
    assert "Aborted!" in result.stderr
    assert f"What is done so far is in out. {said}" in result.stderr


def test_interrupted_exports_say_which_are_done(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    stubs.refuse["resnet34"] = ExportError("It does not export.", "Try another.")
    arguments = ("--weights", "random", "--data", folder([1, 2]))
    stubs.refuse["resnet18"] = KeyboardInterrupt()
    early = _output_of(reader(), "resnet18", *arguments)
    assert "Interrupted. No export was complete, and nothing half-written is left. The same comm" in early
    stubs.refuse["vgg16"] = stubs.refuse.pop("resnet18")
    late = _output_of(reader(), "resnet18", "resnet34", "resnet50", "vgg16", *arguments)
    assert "Exported, and kept for the next time: resnet18, resnet50; nothing half-written is left." in late
    assert "The same command goes on from there." in late
    assert stubs.measured == 0


def _output_of(*arguments: str | Path) -> str:
    """What an interrupted command says."""
    result = compare(*arguments)
    assert result.exit_code == 1
    assert "Aborted!" in result.stderr
    return result.stderr


def test_reports_that_are_interrupted_are_written_by_the_next_run(
    stubs: Stubs, reader: Make, folder: Make, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    arguments = (reader(), "--data", folder([1, 2]))
    with monkeypatch.context() as patched:
        patched.setattr(html, "write_page", interrupted)
        assert "The same command goes on from there." in _output_of(*arguments)
    assert compare(*arguments).exit_code == 0
    assert stubs.measured == 1


@pytest.mark.slow
def test_a_real_network_from_weights_to_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    options = ("--weights", "random", "--limit", "60", "--images", "64", "--max-drop", "100")
    short = ("--duration", "0.1", "--threads", "1", "--data", "digits")
    result = compare("lenet5", *options, *short, "--json")
    assert result.exit_code == 0, result.output
    fp32, int8 = decode_results(result.stdout, origin="standard output").results
    assert int8.variant.precision in ("int8", "mixed")
    for each in (fp32, int8):
        assert each.accuracy is not None
        assert each.latency_ms is not None
        assert each.memory_bytes is not None
        assert each.accuracy.n == 60
    assert int8.ratio is not None
    again = json.loads(compare("lenet5", *options, *short, "--json").stdout)["results"]
    assert all("from an earlier run" in each["warnings"].pop() for each in again)
    assert again == json.loads(result.stdout)["results"]
    assert (place / "comparison" / "report.html").stat().st_size < 1_500_000

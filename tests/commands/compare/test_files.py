"""What ``edgecnn compare`` prints and writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgecnn.reports import html
from edgecnn.reports.result_file import decode_results, read_results
from tests.commands.compare.running import Make, Stubs, compare

REAL_PAGE = html.write_page


def test_the_table_and_all_files(
    stubs: Stubs, reader: Make, folder: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "write_page", REAL_PAGE)
    result = compare(reader(), "--data", folder([1, 2, 7]))
    assert result.exit_code == 0, result.output
    assert result.stdout.count("reader") >= 2
    assert "Reports: comparison/results.json" in result.stdout
    output = place / "comparison"
    document = read_results(output / "results.json")
    assert [each.variant.precision for each in document.results] == ["fp32", "int8"]
    assert [each.accuracy and round(each.accuracy.top1) for each in document.results] == [100, 67]
    assert len((output / "results.csv").read_text().splitlines()) == 3
    assert "int8" in (output / "results.md").read_text()
    page = (output / "report.html").read_text()
    assert "data:image/jpeg;base64," in page  # the image that the quantised network lost


def test_json_is_the_document_alone(stubs: Stubs, reader: Make, folder: Make, place: Path) -> None:
    result = compare(reader(), "--data", folder([1, 2]), "--precision", "fp32,bf16", "--json", "-v")
    assert result.exit_code == 0, result.output
    document = decode_results(result.stdout, origin="standard output")
    assert document == read_results(place / "comparison" / "results.json")
    assert "Left out: bf16 in ort: only OpenVINO computes in bfloat16 here" in result.stderr


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_what_draws_the_page_the_other_files_are_written(
    stubs: Stubs, reader: Make, place: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("edgecnn.reports.")]:
        if name.startswith(("edgecnn.reports.html", "edgecnn.reports.plots", "edgecnn.reports.page_plots")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    result = compare(reader(), "--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert "Warning: No page was written. " in result.stderr
    assert "pip install 'edgecnn[plots]'" in result.stderr
    assert {path.name for path in (place / "comparison").iterdir() if path.is_file()} == {
        "results.json",
        "results.csv",
        "results.md",
    }
    if missing == "matplotlib":
        assert compare(reader(), "--precision", "fp32", "--plots", "plots", "--fresh").exit_code == 1
        assert stubs.measured == 1  # told before the run, not after it


def test_plots_are_written(stubs: Stubs, reader: Make, folder: Make, place: Path) -> None:
    result = compare(reader(), "--data", folder([1, 7]), "--plots", "plots")
    assert result.exit_code == 0, result.output
    assert {path.suffix for path in (place / "plots").iterdir()} == {".png", ".svg"}


def test_a_folder_that_cannot_be_written_is_told_before_the_run(
    stubs: Stubs, reader: Make, place: Path
) -> None:
    (place / "file").touch()
    result = compare(reader(), "--precision", "fp32", "-o", "file/folder")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert "-o" in result.stderr
    assert stubs.measured == 0

"""``edgecnn compare --max-drop``."""

from __future__ import annotations

from pathlib import Path

from edgecnn.errors import ExportError
from edgecnn.reports.result_file import read_results
from tests.commands.compare.running import Make, Stubs, compare


def test_a_drop_beyond_the_limit_names_the_cell_and_exits_with_3(
    stubs: Stubs, reader: Make, folder: Make, place: Path
) -> None:
    arguments = (reader(), "--data", folder([7, 7, 7, 1] * 12))
    result = compare(*arguments)
    assert result.exit_code == 3
    assert "reader int8 ort, batch 1, 1 thread: Top-1 is 75.00 points below the float" in result.stderr
    assert "--max-drop allows 0.5." in result.stderr
    assert "Error: 1 variant lost more top-1 than --max-drop allows." in result.stderr
    assert "Reports:" in result.stdout
    document = read_results(place / "comparison" / "results.json")
    assert [[gate.held for gate in each.gates] for each in document.results] == [[], [False]]
    assert "--max-drop allows 0.5" in (place / "comparison" / "results.csv").read_text()
    assert compare(*arguments, "--max-drop", "80").exit_code == 0


def test_a_drop_that_chance_explains_is_told_and_passes(stubs: Stubs, reader: Make, folder: Make) -> None:
    result = compare(reader(), "--data", folder([1, 2, 7]))
    assert result.exit_code == 0
    assert (
        "reader int8 ort, batch 1, 1 thread: top-1 is 33.33 points lower, more than the 0.5 allowed, but "
        "within chance on so few images: measure on more (--data)." in result.stderr
    )


def test_a_failure_weighs_more_than_a_drop(stubs: Stubs, reader: Make, folder: Make) -> None:
    stubs.refuse["resnet18"] = ExportError("It does not export.", "Try another.")
    result = compare(reader(), "resnet18", "--weights", "random", "--data", folder([7, 7, 7, 1] * 12))
    assert result.exit_code == 1
    assert "points below the float" in result.stderr

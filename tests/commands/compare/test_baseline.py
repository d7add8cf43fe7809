"""``edgecnn compare --baseline``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgecnn.reports.result_file import read_results, write_results
from tests.commands.compare.running import Make, Stubs, compare


def test_what_got_slower_than_the_baseline_exits_with_3(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    arguments = (reader(), "--data", folder([1, 2]))
    baseline = ("--baseline", "old/results.json", "--fresh")
    assert compare(*arguments, "-o", "old").exit_code == 0
    same = compare(*arguments, *baseline)
    assert same.exit_code == 0, same.output
    assert "Nothing got worse than the baseline in 2 variants: accuracy of 2, latency of 2." in same.stderr
    stubs.p50 = 12
    slower = compare(*arguments, *baseline)
    assert slower.exit_code == 3
    assert "latency p50 10 ms -> 12 ms (+20.0 %)" in slower.stderr
    assert "figures of 2 variants are worse than in the baseline" in slower.stderr
    assert "Reports:" in slower.stdout
    stubs.p50 = 8
    assert compare(*arguments, *baseline).exit_code == 0


def test_one_figure_and_one_variant_are_told_in_the_singular(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    arguments = (reader(), "--precision", "fp32", "--data", folder([1, 2]))
    assert compare(*arguments, "-o", "old").exit_code == 0
    baseline = ("--baseline", "old/results.json", "--fresh")
    assert "than the baseline in 1 variant: accuracy of 1" in compare(*arguments, *baseline).stderr
    stubs.p50, stubs.spread = 12, 0.9
    slower = compare(*arguments, *baseline)
    assert slower.exit_code == 3
    assert "1 figure of 1 variant is worse than in the baseline." in slower.stderr


def test_a_variant_that_vanished_is_no_figure(stubs: Stubs, reader: Make, folder: Make) -> None:
    arguments = (reader(), "--data", folder([1, 2]))
    assert compare(*arguments, "-o", "old").exit_code == 0
    less = compare(*arguments, "--precision", "fp32", "--baseline", "old/results.json")
    assert less.exit_code == 3
    assert "int8 ort, batch 1, 1 thread: no longer measured." in less.stderr
    assert "Error: 1 variant of the baseline failed or is missing." in less.stderr


def test_what_got_less_accurate_than_the_baseline_exits_with_3(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    data = folder([1, 2, 3, 4] * 8)
    good = compare(reader("reader.onnx"), "--data", data, "-o", "old")
    assert good.exit_code == 0
    bad = compare(reader("reader.onnx", shift=1), "--data", data, "--baseline", "old/results.json")
    assert bad.exit_code == 3
    assert "top-1 100.00 % -> 0.00 %" in bad.stderr


def test_a_baseline_of_another_version_is_refused_before_anything_runs(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path, place: Path
) -> None:
    old = tmp_path / "old.json"
    old.write_text('{"schema": "edgecnn.result/0", "results": []}')
    result = compare(reader(), "--data", folder([1]), "--baseline", old)
    assert result.exit_code == 1
    assert "'edgecnn.result/0', and this edgecnn reads 'edgecnn.result/1'" in result.stderr
    assert stubs.measured == 0
    assert not (place / "comparison").exists()


def test_the_baseline_may_not_be_what_is_replaced(stubs: Stubs, reader: Make, place: Path) -> None:
    path = place / "comparison" / "results.json"
    for _ in range(2):  # whether there is one already or not
        result = compare(reader(), "--precision", "fp32", "--baseline", path)
        assert result.exit_code == 2
        assert "Keep the baseline elsewhere" in result.stderr
        assert stubs.measured <= 1
        compare(reader(), "--precision", "fp32")


def test_a_gate_that_compares_nothing_does_not_pass(
    stubs: Stubs, reader: Make, folder: Make, tmp_path: Path
) -> None:
    arguments, path = (reader(), "--precision", "fp32"), tmp_path / "old.json"
    assert compare(*arguments).exit_code == 0
    document = read_results(Path("comparison/results.json"))
    write_results(replace(document, environment=replace(document.environment, cpu="Cortex-A76")), path)
    elsewhere = compare(*arguments, "--baseline", path, "-q")
    assert elsewhere.exit_code == 3
    assert "Warning: Measured on another machine" in elsewhere.stderr
    assert "Nothing could be compared with the baseline" in elsewhere.stderr
    (only,) = document.results
    write_results(replace(document, results=(replace(only, error="It failed then."),)), path)
    assert compare(*arguments, "--baseline", path).exit_code == 3


def test_what_was_not_measured_now_is_a_warning(stubs: Stubs, reader: Make, folder: Make) -> None:
    arguments = (reader(), "--data", folder([1, 2]), "-q")
    assert compare(*arguments).exit_code == 0
    Path("comparison/results.json").rename("old.json")
    again = compare(*arguments, "--baseline", "old.json")
    assert again.exit_code == 0, again.output
    assert stubs.measured == 1
    assert "Warning: The speed and memory of 2 of 2 variants are from an earlier run" in again.stderr
    assert "pass --fresh" in again.stderr
    assert compare(*arguments, "--baseline", "old.json", "--fresh").stderr == ""

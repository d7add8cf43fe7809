"""The CSV and the Markdown table, both of the same columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.reports.columns import COLUMNS, SUMMARY, cell_text, filled
from edgecnn.reports.csv_file import csv_text
from edgecnn.reports.markdown import markdown_table
from edgecnn.reports.one_line import one_line
from edgecnn.reports.result import Accuracy, LatencyMs, Result, ResultFile, Scenario, Variant
from edgecnn.reports.rows import rows_of

MakeVariant = Callable[..., Variant]


def _read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_csv_holds_full_precision_with_units_in_its_header(comparison: ResultFile) -> None:
    lines = _read(csv_text(comparison.results))
    assert len(lines) == len(comparison.results)
    first, source = lines[0], comparison.results[0]
    assert source.latency_ms is not None
    assert source.memory_bytes is not None
    assert source.memory_bytes.peak is not None
    assert float(first["latency_p90_ms"]) == source.latency_ms.p90
    intervals = source.latency_ms.ci95
    assert intervals is not None
    assert intervals.p99_9 is not None
    ends = [float(first[f"latency_p99_9_ci95_{end}_ms"]) for end in ("low", "high")]
    assert ends == list(intervals.p99_9)
    assert first["latency_p99_ci95_low_ms"] == "", "which nobody gave"
    assert float(first["memory_peak_mb"]) == source.memory_bytes.peak / 1e6
    assert first["scenario"] == "single"


def test_what_was_not_measured_is_empty_never_zero(variant: MakeVariant) -> None:
    (line,) = _read(csv_text([Result(variant=variant())]))
    filled_keys = {key for key, cell in line.items() if cell}
    assert filled_keys == {
        *("network", "precision", "engine", "batch", "threads", "on_front", "artifact", "sha256"),
    }


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(error=HOSTILE, options=HOSTILE)
def test_any_text_comes_back_from_the_csv(error: str, options: str) -> None:
    own = Variant(
        network="n", artifact="n.onnx", sha256="aa", precision="fp32", engine="ort", options=options
    )
    (line,) = _read(csv_text([Result(variant=own, error=error)]))
    assert (line["error"], line["options"]) == (error, options)


@given(HOSTILE)
def test_any_name_is_one_cell_of_one_line_of_markdown(name: str) -> None:
    own = Variant(network=f"x{name}", artifact="", sha256="aa", precision="fp32", engine="ort")
    lines = markdown_table([Result(variant=own, latency_ms=LatencyMs(p50=1.0))]).splitlines()
    assert len(lines) == 3
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert not re.search(r"(?<!\\)[<>`*]", lines[2])


def test_the_markdown_table_leaves_out_what_nobody_has(variant: MakeVariant) -> None:
    single = Scenario(name="single", driver="built-in", duration_s=1.0)
    plain = Result(variant=variant(), latency_ms=LatencyMs(p50=1.234567), scenario=single)
    text = markdown_table([plain])
    assert text == (
        "| network      | precision | engine | batch | threads | p50 ms |\n"
        "| ------------ | --------- | ------ | ----: | ------: | -----: |\n"
        "| mobilenet_v2 | fp32      | ort    |     1 |       2 |   1.23 |\n"
    )
    offline = replace(plain, scenario=replace(single, name="offline"))
    assert "| scenario |" in markdown_table([plain, offline])


def test_a_drop_of_nothing_is_a_figure(variant: MakeVariant) -> None:
    accuracy = Accuracy(n=10, top1=50.0, top1_ci95=(20.0, 80.0))
    assert re.search(
        r"\| drop \|.*\n.*\n.*\| 0\.00 \|", markdown_table([Result(variant=variant(), accuracy=accuracy)])
    )


def test_failures_are_listed_with_their_reason(comparison: ResultFile) -> None:
    text = markdown_table(comparison.results)
    assert "\nFailed:\n\n- mobilenet_v2 int8 torch: torch runs no quantised ONNX file" in text
    assert markdown_table(comparison.results[-1:]).startswith("Failed:")


@pytest.mark.parametrize(
    ("p50", "text"),
    [(0.01234, "0.0123"), (3.14159, "3.14"), (31.4159, "31.42"), (314.159, "314.2"), (31415.9, "31416")],
)
def test_people_see_about_four_digits(p50: float, text: str, variant: MakeVariant) -> None:
    (row,) = rows_of([Result(variant=variant(), latency_ms=LatencyMs(p50=p50))])
    column = next(column for column in COLUMNS if column.key == "latency_p50_ms")
    assert cell_text(column, row) == text


def test_columns_have_names_of_their_own(comparison: ResultFile) -> None:
    keys = [column.key for column in COLUMNS]
    assert len(set(keys)) == len(keys)
    assert {column.key for column in filled(SUMMARY, rows_of(comparison.results))} > {
        "drop_points",
        "top1_percent",
    }


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert one_line(line) == line

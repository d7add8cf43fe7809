"""The figures of records that are known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from edgecnn.loadtest.csv_file import write_records
from edgecnn.loadtest.records import Fault, Recorder, Records
from edgecnn.loadtest.run import LoadRun
from edgecnn.loadtest.summary import summarise_load

MS = 1_000_000


def _records() -> Records:
    """A second of 1000 requests, 1 ms apart, in three kinds; 50 more before, of the warm-up."""
    recorder = Recorder()
    for number in range(1049, -1, -1):
        due, kind = (number - 50) * MS, number % 10
        if kind < 7:
            recorder.add((due, due, due + 4 * MS), number % 3, 200, Fault.NONE)
        elif kind < 9:
            recorder.add((due, due + MS, due + 2 * MS), 0, 429, Fault.NONE)
        else:
            recorder.add((due, due, due + 30 * MS), 0, 0, Fault.RESET)
    return recorder.records(0)


RUN = LoadRun(records=_records(), seconds=1.0, cpu_s=0.21)


def test_records_are_in_the_order_in_which_they_were_due() -> None:
    assert (np.diff(RUN.records.due_ns) == MS).all()
    assert len(RUN.measured) == 1000


def test_each_kind_has_its_own_figures() -> None:
    summary = summarise_load(RUN)
    assert summary.requests == 1000
    assert summary.accepted is not None
    assert summary.accepted.count == 700
    assert summary.accepted.percentiles["p99"] == summary.accepted.max == 4.0
    assert summary.accepted.percentiles["p99.9"] is None
    assert list(summary.refused) == [429]
    assert (summary.refused[429].count, summary.refused[429].percentiles["p50"]) == (200, 2.0)
    assert summary.faults == {"reset": 100}
    assert summary.late_ms is not None
    assert summary.late_ms.max == 1.0
    assert summary.client_cpu_ms == pytest.approx(0.2)


def test_rates_are_of_the_measured_time() -> None:
    summary = summarise_load(RUN)
    # Those that were due in the last 4 ms were answered after the end, and as many of before it within.
    assert summary.goodput.per_s == pytest.approx(700, abs=3)
    assert summary.answered.per_s == pytest.approx(900, abs=3)
    assert summary.goodput.ci95 is not None
    low, high = summary.goodput.ci95
    assert low <= summary.goodput.per_s <= high < 710


def test_nothing_measured_is_no_figure() -> None:
    summary = summarise_load(LoadRun(records=Recorder().records(0), seconds=1.0, cpu_s=0.1))
    assert (summary.accepted, summary.refused, summary.faults, summary.late_ms) == (None, {}, {}, None)
    assert (summary.goodput.per_s, summary.goodput.ci95) == (0, None)


def test_a_wrong_answer_is_a_fault_and_neither_accepted_nor_refused() -> None:
    recorder = Recorder()
    recorder.add((0, 0, MS), 0, 200, Fault.WRONG)
    summary = summarise_load(LoadRun(records=recorder.records(0), seconds=1.0, cpu_s=0.1))
    assert (summary.accepted, summary.refused, summary.faults) == (None, {}, {"wrong": 1})


def test_the_csv_has_a_line_a_request(tmp_path: Path) -> None:
    write_records(RUN.measured, tmp_path / "out" / "load.csv")
    with (tmp_path / "out" / "load.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1000
    assert rows[0] == {
        "request": "0",
        "payload": "2",
        "due_s": "0.000000",
        "sent_s": "0.000000",
        "latency_ms": "4.000",
        "status": "200",
        "fault": "",
    }
    assert (rows[8]["status"], rows[8]["latency_ms"]) == ("429", "2.000")
    assert (rows[9]["status"], rows[9]["fault"]) == ("", "reset")

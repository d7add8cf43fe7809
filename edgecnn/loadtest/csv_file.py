"""All requests of a run as CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from edgecnn.atomic import replacing
from edgecnn.loadtest.records import Fault, Records

__all__ = ["write_records"]

_COLUMNS = ("request", "payload", "due_s", "sent_s", "latency_ms", "status", "fault")


def write_records(records: Records, path: Path) -> None:
    """Write a header and one line a request (RFC 4180), in the order in which they were due.

    ``latency_ms`` counts from ``due_s``; where there was no answer it is the time until that was known, and
    ``status`` is empty. ``fault`` is empty where there was none.

    Raises:
        OSError: the file cannot be written.
    """
    names = {fault.value: "" if fault is Fault.NONE else fault.name.lower() for fault in Fault}
    columns = zip(
        records.payload.tolist(),
        (records.due_ns * 1e-9).tolist(),
        (records.sent_ns * 1e-9).tolist(),
        records.latency_ms.tolist(),
        records.status.tolist(),
        records.fault.tolist(),
        strict=True,
    )
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for number, (payload, due, sent, latency, status, fault) in enumerate(columns):
            writer.writerow(
                (number, payload, f"{due:.6f}", f"{sent:.6f}", f"{latency:.3f}", status or "", names[fault])
            )

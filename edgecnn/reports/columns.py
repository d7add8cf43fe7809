"""The columns that every table of results is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecnn.reports.digits import digits
from edgecnn.reports.label import file_precision
from edgecnn.reports.limits import MEGABYTE
from edgecnn.reports.missed import missed
from edgecnn.reports.one_line import one_line
from edgecnn.reports.percentiles import Percentile, latency_interval, percentile_text
from edgecnn.reports.rows import Row

__all__ = ["COLUMNS", "SUMMARY", "Cell", "Column", "cell_text", "filled"]

Cell = str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        key: names it in a file, with its unit: "latency_p50_ms".
        title: for people.
        read: the value; None where it was not measured.
        places: decimals that people see of a number; None for text.
        help: what the title leaves open, as a sentence.
        usual: a value that goes without saying when all rows have it.
        least: significant digits that a small number keeps; 0 where decimals count, as of percentages.
    """

    key: str
    title: str
    read: Callable[[Row], Cell]
    places: int | None = None
    help: str = ""
    usual: Cell = None
    least: int = 0

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.places is not None


def cell_text(column: Column, row: Row, absent: str = "-") -> str:
    """What people see of a cell; ``absent`` where there is nothing."""
    value = column.read(row)
    if value is None or value == "":
        return absent
    if isinstance(value, bool):
        return "yes" if value else absent
    if column.places is None or isinstance(value, str):
        return one_line(str(value))
    return digits(value, column.places, column.least)


def filled(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[Column, ...]:
    """Those that say something in at least one row."""
    return tuple(column for column in columns if any(_says(column, column.read(row)) for row in rows))


def _says(column: Column, value: Cell) -> bool:
    """Whether ``value`` is worth a column; a number always is, zero too."""
    return value not in (None, "", column.usual) and value is not False


def _field(part: str, name: str, scale: float = 1.0) -> Callable[[Row], Cell]:
    """Reads ``result.part.name``, divided by ``scale``."""

    def read(row: Row) -> Cell:
        value: Cell = getattr(getattr(row.result, part), name, None)
        return value / scale if isinstance(value, int | float) and scale != 1.0 else value

    return read


def _interval(part: str, name: str, end: int) -> Callable[[Row], Cell]:
    def read(row: Row) -> Cell:
        interval = getattr(getattr(row.result, part), name, None)
        return None if interval is None else float(interval[end])

    return read


def _latency_interval(name: Percentile) -> tuple[Column, Column]:
    """Both ends of the 95 % interval of a percentile."""

    def end(at: int) -> Callable[[Row], Cell]:
        def read(row: Row) -> Cell:
            interval = latency_interval(row.result, name)
            return None if interval is None else float(interval[at])

        return read

    return (
        _milliseconds(f"latency_{name}_ci95_low_ms", f"{percentile_text(name)} low", end(0)),
        _milliseconds(f"latency_{name}_ci95_high_ms", f"{percentile_text(name)} high", end(1)),
    )


def _milliseconds(key: str, title: str, read: Callable[[Row], Cell], explanation: str = "") -> Column:
    """A small network takes microseconds."""
    return Column(key, title, read, 2, explanation, least=3)


def _stage(name: str) -> Column:
    return _milliseconds(f"{name}_ms", f"{name} ms", _field("stages_ms", name))


def _memory(name: str, title: str, explanation: str) -> Column:
    return Column(f"memory_{name}_mb", title, _field("memory_bytes", name, MEGABYTE), 1, explanation, least=2)


_TABLE = (
    Column("network", "network", lambda row: row.model),
    Column("precision", "precision", lambda row: row.result.variant.precision),
    Column(
        "artifact_precision",
        "file",
        lambda row: file_precision(row.result.variant),
        None,
        "What the file holds, where it is quantised and the arithmetic is not.",
    ),
    Column("engine", "engine", lambda row: row.result.variant.engine),
    Column("options", "options", lambda row: row.result.variant.options),
    Column("batch", "batch", _field("variant", "batch"), 0, "Images per call."),
    Column("threads", "threads", _field("variant", "threads"), 0),
    Column("scenario", "scenario", _field("scenario", "name"), usual="single"),
    Column("on_front", "front", lambda row: row.on_front, None, "Nothing is as fast (p90) and as accurate."),
    Column("top1_percent", "top-1 %", _field("accuracy", "top1"), 2),
    Column("drop_points", "drop", lambda row: row.drop, 2, "Percentage points of top-1 below its fp32 form."),
    Column(
        "agreement_percent",
        "agree %",
        _field("accuracy", "agreement"),
        2,
        "Images with the reference's first choice.",
    ),
    _milliseconds("latency_p50_ms", "p50 ms", _field("latency_ms", "p50"), "Median latency of one query."),
    _milliseconds("latency_p90_ms", "p90 ms", _field("latency_ms", "p90")),
    _milliseconds("latency_p99_ms", "p99 ms", _field("latency_ms", "p99")),
    Column("throughput_per_s", "images/s", lambda row: row.result.throughput_per_s, 1, least=2),
    Column(
        "speedup",
        "speed-up",
        _field("ratio", "speedup"),
        2,
        "Against the run's baseline, in alternation.",
        least=2,
    ),
    _memory("file", "file MB", "The artifact on disk."),
    _memory("peak", "memory MB", "Peak resident memory in the steady state, above an empty process."),
    Column("energy_j_per_image", "J/image", lambda row: row.result.energy_j_per_image, 3, least=3),
)

_DETAIL = (
    Column("artifact", "artifact", lambda row: row.result.variant.artifact),
    Column("sha256", "sha256", lambda row: row.result.variant.sha256),
    Column("images", "n", _field("accuracy", "n"), 0, "Images behind the accuracy."),
    Column("top1_ci95_low_percent", "top-1 low", _interval("accuracy", "top1_ci95", 0), 2),
    Column("top1_ci95_high_percent", "top-1 high", _interval("accuracy", "top1_ci95", 1), 2),
    Column("top5_percent", "top-5 %", _field("accuracy", "top5"), 2),
    Column("mcnemar_p", "McNemar p", _field("accuracy", "mcnemar_p"), 3),
    *_latency_interval("p50"),
    *_latency_interval("p90"),
    _milliseconds("latency_p95_ms", "p95 ms", _field("latency_ms", "p95")),
    *_latency_interval("p95"),
    *_latency_interval("p99"),
    _milliseconds("latency_p99_9_ms", "p99.9 ms", _field("latency_ms", "p99_9")),
    *_latency_interval("p99_9"),
    _milliseconds("jitter_ms", "jitter ms", _field("latency_ms", "jitter")),
    *(_stage(name) for name in ("preprocess", "copy", "run", "postprocess")),
    _memory("runtime", "runtime MB", "Once the library was imported."),
    _memory("load", "load MB", "Once the model was open."),
    _memory("first_run", "first run MB", "Once it had run."),
    _memory("device", "GPU MB", "GPU memory that the process held."),
    Column("parameters", "parameters", _field("size", "parameters"), 0),
    Column("macs", "MACs", _field("size", "macs"), 0, "Multiply-accumulates for one image."),
    Column("baseline", "baseline", _field("ratio", "baseline")),
    Column("warnings", "warnings", lambda row: " ".join((*missed(row.result), *row.result.warnings))),
    Column("error", "error", lambda row: row.result.error),
)

#: What fits a page, and what a decision needs.
SUMMARY = _TABLE

#: All that a table can hold; nested lists (flips, classes, quantiles) are in the JSON only.
COLUMNS = (*_TABLE, *_DETAIL)

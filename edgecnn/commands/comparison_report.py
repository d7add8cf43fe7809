"""The files of a comparison, and its gate against an older one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.atomic import replacing, writing
from edgecnn.commands.console import Terminal
from edgecnn.data import LabelledImages
from edgecnn.errors import DependencyMissingError, GateError, ResultError
from edgecnn.reports.counted import counted
from edgecnn.reports.csv_file import csv_text
from edgecnn.reports.markdown import markdown_table
from edgecnn.reports.missed import excused, missed
from edgecnn.reports.page_gallery import wanted_images
from edgecnn.reports.regression import BaselineComparison, compare_to_baseline
from edgecnn.reports.result import ResultFile
from edgecnn.reports.result_file import write_results
from edgecnn.reports.rows import Row, rows_of

if TYPE_CHECKING:
    from edgecnn.compare import MatrixOutcome

__all__ = ["gate_against", "tell_drops", "write_reports"]


def write_reports(
    outcome: MatrixOutcome, data: LabelledImages | None, folder: Path, plots: Path | None, terminal: Terminal
) -> list[Path]:
    """Write results.json, .csv, .md and report.html into ``folder``, and the plots; what was written.

    Without matplotlib and jinja2 the page is left out, with a warning that says what installs them.

    Raises:
        ResultError: a file cannot be written.
        DependencyMissingError: plots are asked for, and matplotlib is not installed.
    """
    document = outcome.document
    written = [folder / "results.json", folder / "results.csv", folder / "results.md"]
    write_results(document, written[0])
    _write(csv_text(document.results), written[1])
    _write(markdown_table(document.results), written[2])
    try:
        from edgecnn.compare.thumbnails import thumbnails_of
        from edgecnn.reports.html import write_page

        keys = wanted_images(rows_of(document.results))
        pictures = {} if data is None else thumbnails_of(data, keys)
        write_page(document, folder / "report.html", pictures, "edgecnn comparison", outcome.classes)
        written.append(folder / "report.html")
    except DependencyMissingError as error:
        terminal.warn(f"No page was written. {error}")
    if plots is not None:
        from edgecnn.reports.plots import write_plots

        drawn = write_plots(document, plots, classes=outcome.classes)
        written += [path for path in drawn if path.suffix == ".png"]
    return written


def tell_drops(rows: Sequence[Row], terminal: Terminal) -> int:
    """Name what lost more top-1 than is allowed; how many of them did beyond chance."""
    for row in rows:
        for sentence in missed(row.result):
            terminal.warn(f"{row.title}: {sentence}")
        for sentence in excused(row.result):
            terminal.note(f"Note: {row.title}: {sentence}")
    return sum(bool(missed(row.result)) for row in rows)


def gate_against(old: ResultFile, new: ResultFile, terminal: Terminal) -> None:
    """Say what got worse from ``old`` to ``new``.

    Raises:
        GateError: something did, or nothing could be compared.
    """
    found = compare_to_baseline(old, new)
    for note in found.notes:
        terminal.warn(note)
    for finding in found.findings:
        terminal.warn(finding.sentence)
    if found.findings:
        raise GateError(
            " ".join(_summary(found)),
            "What is meant is named above. If that is intended, make these results the new baseline.",
        )
    if not found.compared:
        raise GateError(
            "Nothing could be compared with the baseline: no variant has a figure in both.",
            "Make the baseline anew, of the same networks, engines, precisions and images, on this machine.",
        )
    counts = ", ".join(f"{name} of {count}" for name, count in found.figures.items())
    compared = counted(found.compared, "variant")
    terminal.note(f"Nothing got worse than the baseline in {compared}: {counts}.")


def _summary(found: BaselineComparison) -> Iterator[str]:
    """How much got worse, and how much is no longer there to be compared."""
    worse = sum(bool(finding.figure) for finding in found.findings)
    if worse:
        figures, variants = counted(worse, "figure"), counted(found.compared, "variant")
        yield f"{figures} of {variants} {'is' if worse == 1 else 'are'} worse than in the baseline."
    if gone := len(found.findings) - worse:
        variants = counted(gone, "variant")
        yield f"{variants} of the baseline failed or {'is' if gone == 1 else 'are'} missing."


def _write(text: str, path: Path) -> None:
    remedy = "Free some space or choose another folder with -o."
    with writing(path, ResultError, remedy), replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

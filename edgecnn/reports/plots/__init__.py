"""The plots of a document, as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgecnn.atomic import writing
from edgecnn.errors import DependencyMissingError, ResultError

# Before any module of this package, all of which import it plainly.
try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise DependencyMissingError("matplotlib", "A plot", "plots") from error

from edgecnn.reports.class_names import ClassNames
from edgecnn.reports.class_pairs import flip_pairs
from edgecnn.reports.plots.bubbles import bubble_points, draw_bubbles
from edgecnn.reports.plots.cdf import cdf_rows, draw_cdf
from edgecnn.reports.plots.figure import Figure, drawing, laid_out, save_figure
from edgecnn.reports.plots.flips import draw_flips
from edgecnn.reports.plots.kinds import kinds_of
from edgecnn.reports.plots.memory import draw_memory, memory_rows
from edgecnn.reports.plots.theme import LIGHT, Theme
from edgecnn.reports.result import ResultFile
from edgecnn.reports.rows import rows_of

__all__ = ["drawn", "write_plots"]


def write_plots(
    document: ResultFile, folder: Path, theme: Theme = LIGHT, *, classes: ClassNames
) -> tuple[Path, ...]:
    """Write each plot that ``document`` has figures for as PNG and SVG; the paths, in order.

    Args:
        document: the results.
        folder: made where it is missing.
        theme: the colours.
        classes: what the classes of each reference are called.

    Raises:
        ResultError: a file cannot be written.
    """
    written = []
    with drawing():
        for name, figure in drawn(document, theme, classes).items():
            for suffix in ("png", "svg"):
                path = folder / f"{name}.{suffix}"
                with writing(path, ResultError, "Choose another folder with --plots."):
                    save_figure(figure, path)
                written.append(path)
    return tuple(written)


def drawn(document: ResultFile, theme: Theme, classes: ClassNames) -> Mapping[str, Figure]:
    """Name -> figure, of each plot that ``document`` has figures for; to be called within ``drawing()``."""
    rows = rows_of(document.results)
    kinds = kinds_of(rows)
    figures: dict[str, Figure] = {}
    points, area = bubble_points(rows)
    if points:
        figures["accuracy-latency"] = draw_bubbles(points, area, kinds, theme)
    if curves := cdf_rows(rows):
        figures["latency-cdf"] = draw_cdf(curves, theme)
    if bars := memory_rows(rows):
        figures["memory"] = draw_memory(bars, theme)
    if pairs := flip_pairs(document.results, classes):
        figures["flips"] = draw_flips(pairs, theme)
    return {name: laid_out(figure) for name, figure in figures.items()}

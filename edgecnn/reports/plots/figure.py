"""Empty figures in the colours of a theme, and what matplotlib must not do with text of others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from edgecnn.atomic import replacing
from edgecnn.reports.plots.theme import Theme

__all__ = ["Axes", "Figure", "drawing", "laid_out", "new_axes", "save_figure", "tick_logarithm"]

_SETTINGS = {
    # A name may hold dollar signs, and is no formula.
    "text.parse_math": False,
    "svg.fonttype": "none",
    # The names inside an SVG follow from this, so that equal results make equal files.
    "svg.hashsalt": "edgecnn",
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "path.simplify_threshold": 1.0,
}


@contextmanager
def drawing() -> Iterator[None]:
    """The settings under which every plot is made, written included."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():  # type: ignore[arg-type]
        # A character that the font lacks is drawn as a box, which is no reason to have no plot.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font")
        yield


def new_axes(theme: Theme, width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of ``width`` x ``height`` inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=theme.paper)
    axes = figure.add_subplot(facecolor=theme.paper)
    _style(axes, theme)
    return figure, axes


def _style(axes: Axes, theme: Theme) -> None:
    """No frame, a faint grid, text in the theme's ink."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.faint)
    axes.tick_params(which="both", colors=theme.faint, labelcolor=theme.ink, length=0)
    axes.tick_params(axis="x", which="major", length=4)
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(theme.ink)


def laid_out(figure: Figure) -> Figure:
    """``figure`` with everything at its final place, so that each file made of it is the same."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write it as the suffix of ``path`` says, .png or .svg; equal figures make equal files.

    Raises:
        OSError: the file cannot be written.
    """
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=160, metadata=metadata)


def tick_logarithm(axes: Axes, ratio: float) -> None:
    """Label a logarithmic axis of x with plain numbers, as many as a span of ``ratio`` leaves room for."""
    steps = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if ratio < 12 else (1.0, 2.0, 5.0) if ratio < 1000 else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())

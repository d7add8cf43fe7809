"""The front of mixed precisions as a picture: what accuracy costs in latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from edgecnn.atomic import replacing

__all__ = ["FrontPoint", "draw_front"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One point.

    Attributes:
        label: what is in float.
        relative_latency: over that of the first point.
        agreement: percent of images on which it chooses as the float model does.
        chosen: whether it was taken.
    """

    label: str
    relative_latency: float
    agreement: float
    chosen: bool


def draw_front(points: Sequence[FrontPoint], title: str, limit: float, path: Path) -> None:
    """Write a PNG at ``path``.

    Args:
        points: in the order in which they were tried.
        title: of the picture.
        limit: the agreement that was aimed at, drawn as a line.
        path: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(limit, color="0.6", linestyle="--", linewidth=1)
    axes.annotate(
        f"goal {limit:g} %", (1, limit), xycoords=("axes fraction", "data"), ha="right", va="bottom"
    )
    latencies = [point.relative_latency for point in points]
    axes.plot(latencies, [point.agreement for point in points], color="0.8", zorder=1)
    for point in points:
        color = "tab:green" if point.chosen else "tab:blue"
        axes.scatter(
            point.relative_latency, point.agreement, color=color, s=70 if point.chosen else 30, zorder=2
        )
        axes.annotate(
            f"{point.label}{' (chosen)' if point.chosen else ''}",
            (point.relative_latency, point.agreement),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_xlabel("latency relative to the first point")
    axes.set_ylabel("agreement with the float model, %")
    axes.set_title(title)
    axes.margins(x=0.35, y=0.15)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)

"""What the reference called an image, and what a variant calls it, where the two differ."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from edgecnn.reports.class_pairs import ClassPair, NamedClass
from edgecnn.reports.plots.figure import Figure, new_axes
from edgecnn.reports.plots.kinds import shortened
from edgecnn.reports.plots.theme import Theme

__all__ = ["FEW_CLASSES", "draw_flips"]

#: Up to so many classes fit a matrix; of more, the most frequent pairs are shown.
FEW_CLASSES = 12
_PAIRS = 20


def draw_flips(pairs: Sequence[ClassPair], theme: Theme) -> Figure:
    """A matrix of few classes, bars of the most frequent pairs of many; ``pairs`` holds at least one."""
    classes = sorted({each for pair in pairs for each in (pair.expected, pair.chosen)})
    return _matrix(pairs, classes, theme) if len(classes) <= FEW_CLASSES else _bars(pairs, theme)


def _matrix(pairs: Sequence[ClassPair], classes: Sequence[NamedClass], theme: Theme) -> Figure:
    place = {each: number for number, each in enumerate(classes)}
    counts = [[0] * len(classes) for _ in classes]
    for pair in pairs:
        counts[place[pair.expected]][place[pair.chosen]] += pair.count
    highest = max(max(row) for row in counts)
    figure, axes = new_axes(theme, 3.4 + 0.5 * len(classes), 2.4 + 0.42 * len(classes))
    shades = LinearSegmentedColormap.from_list("flips", [theme.paper, theme.series[0]])
    axes.pcolormesh(counts, cmap=shades, vmin=0, vmax=highest / 0.85, edgecolors=theme.paper, linewidth=1.5)
    axes.invert_yaxis()
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            colour = theme.paper if count > 0.7 * highest else theme.ink
            if count:
                axes.text(x + 0.5, y + 0.5, str(count), ha="center", va="center", color=colour, fontsize=9)
    labels = [shortened(each.name, 22) for each in classes]
    centres = [index + 0.5 for index in range(len(classes))]
    axes.set_xticks(centres, labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(centres, labels)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("now")
    axes.set_ylabel("reference")
    axes.set_title("Images whose first choice changed", color=theme.ink, fontsize=11, loc="left")
    return figure


def _bars(pairs: Sequence[ClassPair], theme: Theme) -> Figure:
    shown = list(pairs[:_PAIRS])[::-1]
    figure, axes = new_axes(theme, 9.0, 1.4 + 0.28 * len(shown))
    labels = [
        f"{shortened(pair.expected.name, 30)} \N{RIGHTWARDS ARROW} {shortened(pair.chosen.name, 30)}"
        for pair in shown
    ]
    axes.barh(range(len(shown)), [pair.count for pair in shown], height=0.66, color=theme.series[0])
    axes.set_yticks(range(len(shown)), labels, fontsize=8.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="y")
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(
        "images, over all variants: what the reference chose \N{RIGHTWARDS ARROW} what is chosen now"
    )
    return figure

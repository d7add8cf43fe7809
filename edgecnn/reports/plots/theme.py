"""Colours of the plots, by what they mean."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["DARK", "LIGHT", "PAGE", "Theme", "page_variables"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """One set of colours, as "#rrggbb".

    Attributes:
        paper: behind everything.
        ink: text.
        faint: text and lines of less weight.
        grid: lines of the grid.
        front: the Pareto front.
        series: of the kinds of things, told apart by colour-blind eyes.
        rest: of the kinds for which no colour is left.
    """

    paper: str
    ink: str
    faint: str
    grid: str
    front: str
    series: tuple[str, ...]
    rest: str

    def kind(self, index: int) -> str:
        """The colour of the kind ``index``."""
        return self.series[index] if index < len(self.series) else self.rest


# The hues of Paul Tol's "muted" scheme (Colour Schemes, SRON/EPS/TN/09-002, 2021), which colour-blind eyes
# tell apart, darkened for white paper and lightened for dark until each has a contrast of 3 to 1 with the
# paper (WCAG 2.2, criterion 1.4.11).
LIGHT = Theme(
    paper="#ffffff",
    ink="#1c2127",
    faint="#59636e",
    grid="#e3e7eb",
    front="#1c2127",
    series=("#332288", "#cc5568", "#117733", "#b07a10", "#2b8fae", "#882255", "#aa4499"),
    rest="#7b858f",
)
DARK = Theme(
    paper="#15191e",
    ink="#e8ebee",
    faint="#a3adb7",
    grid="#2c333b",
    front="#e8ebee",
    series=("#8f9bff", "#f08a96", "#5fc07f", "#e3c35c", "#7fd3ee", "#d9709f", "#d99be0"),
    rest="#8b96a1",
)

# In the page each colour is a variable of its style sheet; these values, which nothing else has, mark them.
PAGE = Theme(
    paper="#010101",
    ink="#010102",
    faint="#010103",
    grid="#010104",
    front="#010105",
    series=tuple(f"#0102{index:02x}" for index in range(1, 8)),
    rest="#010106",
)


def page_variables(theme: Theme) -> dict[str, str]:
    """Name of each variable of the page's style sheet -> its colour in ``theme``."""
    plain = {
        f"plot-{field.name}": getattr(theme, field.name) for field in fields(theme) if field.name != "series"
    }
    return plain | {f"plot-series-{index}": colour for index, colour in enumerate(theme.series)}

"""Which colour a network has and which marker a precision, the same in every plot of one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.reports.one_line import one_line
from edgecnn.reports.plots.theme import Theme
from edgecnn.reports.rows import Row

__all__ = ["MARKERS", "Kinds", "kinds_of", "shortened"]

#: precision -> matplotlib's marker.
MARKERS = {"fp32": "o", "fp16": "^", "bf16": "D", "int8": "s", "mixed": "P"}


@dataclass(frozen=True, slots=True)
class Kinds:
    """The networks of a document, in the order in which they get colours."""

    networks: tuple[str, ...]

    def colour(self, row: Row, theme: Theme) -> str:
        """Of the row's network."""
        return theme.kind(self.networks.index(row.result.variant.network))

    def legend(self, rows: Sequence[Row], theme: Theme) -> list[tuple[str, str]]:
        """(name, colour) of the networks in ``rows``; those that have no colour of their own share one."""
        present = {row.result.variant.network for row in rows}
        colours = len(theme.series)
        own = [
            (shortened(name), theme.kind(index))
            for index, name in enumerate(self.networks[:colours])
            if name in present
        ]
        return own + ([("others", theme.rest)] if present & set(self.networks[colours:]) else [])


def kinds_of(rows: Sequence[Row]) -> Kinds:
    """Networks on the front come first, for those are what one looks for."""
    ordered = sorted(rows, key=lambda row: not row.on_front)
    return Kinds(tuple(dict.fromkeys(row.result.variant.network for row in ordered)))


def shortened(text: str, length: int = 44) -> str:
    """``text`` in one line of at most ``length`` characters."""
    line = one_line(text)
    return line if len(line) <= length else f"{line[: length - 1]}\N{HORIZONTAL ELLIPSIS}"

"""What is taken for what, on the page: the changes of all variants, and the errors of each network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.reports.class_names import ClassNames
from edgecnn.reports.class_pairs import ClassPair, confused_pairs
from edgecnn.reports.one_line import one_line
from edgecnn.reports.rows import Row

__all__ = ["Confusion", "Matrix", "confusions_of", "matrix_of"]

#: Up to so many classes make a matrix; of more, the most frequent pairs are listed.
_FEW_CLASSES = 12
_PAIRS = 25

#: Of many classes, so many pairs for each network.
_CONFUSED = 10


@dataclass(frozen=True, slots=True)
class Matrix:
    """Classes that are taken for others.

    Attributes:
        classes: names of few classes, in order; empty where there are many.
        counts: of each expected class (row) and chosen class (column), with its share of the highest count.
        pairs: (expected, chosen, count), most frequent first; where there are many classes.
        more: pairs that are not listed.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[tuple[int, float], ...], ...]
    pairs: tuple[tuple[str, str, int], ...]
    more: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """What one variant takes for what."""

    name: str
    matrix: Matrix


def matrix_of(pairs: Sequence[ClassPair], most: int = _PAIRS) -> Matrix | None:
    """``pairs`` as a matrix of few classes or a list of ``most`` pairs of many; None without any."""
    if not pairs:
        return None
    classes = sorted({each for pair in pairs for each in (pair.expected, pair.chosen)})
    if len(classes) > _FEW_CLASSES:
        listed = [
            (one_line(pair.expected.name), one_line(pair.chosen.name), pair.count) for pair in pairs[:most]
        ]
        return Matrix((), (), tuple(listed), len(pairs[most:]))
    found = {(pair.expected, pair.chosen): pair.count for pair in pairs}
    highest = max(found.values())
    counts = tuple(
        tuple((found.get((row, column), 0), found.get((row, column), 0) / highest) for column in classes)
        for row in classes
    )
    return Matrix(tuple(one_line(each.name) for each in classes), counts, (), 0)


def confusions_of(rows: Sequence[Row], classes: ClassNames) -> tuple[Confusion, ...]:
    """The errors of the first variant of each network; those without any are left out."""
    first: dict[str, Row] = {}
    for row in rows:
        accuracy, variant = row.result.accuracy, row.result.variant
        if accuracy is not None and accuracy.confused is not None:
            first.setdefault((accuracy.reference or variant).sha256, row)
    found = [(row.name, matrix_of(confused_pairs(row.result, classes), _CONFUSED)) for row in first.values()]
    return tuple(Confusion(one_line(name), matrix) for name, matrix in found if matrix is not None)

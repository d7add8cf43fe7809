"""Which class is taken for which: of the images whose prediction changed, and of those that are wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgecnn.reports.class_names import ClassNames, class_name
from edgecnn.reports.result import Result

__all__ = ["ClassPair", "NamedClass", "confused_pairs", "flip_pairs"]


@dataclass(frozen=True, slots=True, order=True)
class NamedClass:
    """A class; of one index, models may have different ones, and one name may be that of several classes."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class ClassPair:
    """One class taken for another.

    Attributes:
        expected: class that the reference chose, or the truth.
        chosen: class that the variant chose.
        count: how many images.
    """

    expected: NamedClass
    chosen: NamedClass
    count: int


def flip_pairs(results: Sequence[Result], classes: ClassNames) -> tuple[ClassPair, ...]:
    """The changes from the reference of all ``results`` together, most frequent first."""
    return _pairs(
        (_named(flip.reference, result, classes), _named(flip.predicted, result, classes), 1)
        for result in results
        if result.accuracy is not None
        for flip in result.accuracy.flipped or ()
    )


def confused_pairs(result: Result, classes: ClassNames) -> tuple[ClassPair, ...]:
    """The truth of images of ``result`` and what they are wrongly taken for, most frequent first."""
    confused = () if result.accuracy is None else result.accuracy.confused or ()
    return _pairs(
        (_named(label, result, classes), _named(predicted, result, classes), count)
        for label, predicted, count in confused
    )


def _pairs(found: Iterable[tuple[NamedClass, NamedClass, int]]) -> tuple[ClassPair, ...]:
    counts: Counter[tuple[NamedClass, NamedClass]] = Counter()
    for expected, chosen, count in found:
        counts[expected, chosen] += count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(ClassPair(*pair, count) for pair, count in ordered)


def _named(index: int, result: Result, classes: ClassNames) -> NamedClass:
    return NamedClass(index, class_name(index, result, classes))

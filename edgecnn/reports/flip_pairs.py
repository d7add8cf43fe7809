"""Which class turned into which, of the images whose prediction changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecnn.reports.result import Result

__all__ = ["FlipPair", "class_names", "flip_pairs"]


@dataclass(frozen=True, slots=True)
class FlipPair:
    """One change.

    Attributes:
        reference: class index that the reference chose.
        predicted: class index that the variant chose.
        count: how many images.
    """

    reference: int
    predicted: int
    count: int


def flip_pairs(results: Sequence[Result]) -> tuple[FlipPair, ...]:
    """The changes of all ``results`` together, most frequent first."""
    counts = Counter(
        (flip.reference, flip.predicted)
        for result in results
        if result.accuracy is not None
        for flip in result.accuracy.flipped or ()
    )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(FlipPair(*pair, count) for pair, count in ordered)


def class_names(results: Sequence[Result], known: Sequence[str] = ()) -> Mapping[int, str]:
    """Class index -> name, from ``known`` and from the per-class tables; others are named by their number."""
    names = _Names(enumerate(known))
    for result in results:
        for row in (result.accuracy.per_class or ()) if result.accuracy is not None else ():
            names.setdefault(row.index, row.name)
    return names


class _Names(dict[int, str]):
    def __missing__(self, index: int) -> str:
        return f"class {index}"

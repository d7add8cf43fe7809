"""Whether a variant became less accurate from one run to another, image by image where both runs allow it."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.reports.result import Accuracy, Flip, Interval
from edgecnn.statistics import drop_interval, paired_drop_interval

__all__ = ["AccuracyChange", "accuracy_change"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyChange:
    """How much top-1 fell.

    Attributes:
        drop: percentage points; negative where it rose.
        ci95: their 95 % interval.
        paired: whether the same images were compared one by one.
    """

    drop: float
    ci95: Interval
    paired: bool


def accuracy_change(old: Accuracy, new: Accuracy) -> AccuracyChange | None:
    """From ``old`` to ``new``; None where the images are others, which tells nothing.

    When both runs compared with the same reference on the same images, their lists of flips give every image
    on which they can differ. Otherwise the two proportions are compared as if independent.
    """
    if _images(old) != _images(new):
        return None
    pair = _paired(old, new)
    if pair is not None:
        gained, lost = pair
        low, high = paired_drop_interval(gained, lost, new.n)
        return AccuracyChange(drop=100 * (lost - gained) / new.n, ci95=(100 * low, 100 * high), paired=True)
    low, high = drop_interval(_right(old), _right(new))
    return AccuracyChange(drop=old.top1 - new.top1, ci95=(100 * low, 100 * high), paired=False)


def _images(accuracy: Accuracy) -> str | None:
    return None if accuracy.dataset is None else accuracy.dataset.fingerprint


def _right(accuracy: Accuracy) -> tuple[int, int]:
    return round(accuracy.top1 * accuracy.n / 100), accuracy.n


def _paired(old: Accuracy, new: Accuracy) -> tuple[int, int] | None:
    """Images that only the new one, and only the old one, has right."""
    if old.flipped is None or new.flipped is None or not _same_reference(old, new):
        return None
    before, after = ({flip.key: flip for flip in one.flipped or ()} for one in (old, new))
    gained = lost = 0
    for key in before.keys() | after.keys():
        was, now = _is_right(before.get(key), after.get(key)), _is_right(after.get(key), before.get(key))
        gained += now and not was
        lost += was and not now
    return gained, lost


def _same_reference(old: Accuracy, new: Accuracy) -> bool:
    """Whether both were compared with the same file in the same engine, on the same known images."""
    one, other = old.reference, new.reference
    return (
        one is not None
        and other is not None
        and (one.sha256, one.engine) == (other.sha256, other.engine)
        and old.n == new.n
        and old.dataset is not None
    )


def _is_right(own: Flip | None, other: Flip | None) -> bool:
    """Whether a run has an image right; where it did not flip, it chose as the reference did."""
    if own is not None:
        return own.predicted == own.label
    assert other is not None
    return other.reference == other.label

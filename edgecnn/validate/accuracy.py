"""From choices to accuracy: shares with intervals, and the paired comparison with a reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgecnn.data import LabelledImages
from edgecnn.reports.result import Accuracy, ClassAccuracy, Flip, Flips, Interval, Variant
from edgecnn.statistics import decibel, mcnemar_exact, wilson_interval
from edgecnn.validate.evaluation import Evaluation, Predictions

__all__ = ["accuracy_of", "class_accuracies", "compared", "confusions"]

#: Pairs of classes that are kept: of a dozen classes all, and of many more than anyone reads.
_CONFUSED = 144


def accuracy_of(evaluation: Evaluation, predictions: Predictions, classes: int) -> Accuracy:
    """Top-1 and, of more than five classes, top-5, with Wilson's 95 % intervals."""
    hits = predictions.choices == evaluation.labels[:, None]
    top1, top1_ci95 = _share(hits[:, 0])
    accuracy = Accuracy(n=len(hits), top1=top1, top1_ci95=top1_ci95, tied=predictions.tied)
    if classes <= 5:
        return accuracy
    top5, top5_ci95 = _share(hits.any(axis=1))
    return replace(accuracy, top5=top5, top5_ci95=top5_ci95)


def compared(
    accuracy: Accuracy,
    evaluation: Evaluation,
    predictions: Predictions,
    reference: tuple[Variant, Predictions],
    source: LabelledImages,
) -> Accuracy:
    """``accuracy`` with the comparison of ``predictions`` and the reference's, image by image."""
    variant, other = reference
    own, theirs, labels = predictions.choices[:, 0], other.choices[:, 0], evaluation.labels
    gained = int(((own == labels) & (theirs != labels)).sum())
    lost = int(((own != labels) & (theirs == labels)).sum())
    flipped = tuple(
        Flip(
            key=source.key(int(evaluation.images[at])),
            label=int(labels[at]),
            reference=int(theirs[at]),
            predicted=int(own[at]),
        )
        for at in np.flatnonzero(own != theirs)
    )
    difference = predictions.difference
    return replace(
        accuracy,
        reference=variant,
        agreement=100 * (len(own) - len(flipped)) / len(own),
        flips=Flips(gained=gained, lost=lost),
        mcnemar_p=mcnemar_exact(gained, lost),
        sqnr_db=decibel(difference.signal, difference.noise) if difference else None,
        max_abs_difference=difference.max_abs if difference else None,
        flipped=flipped,
    )


def class_accuracies(
    evaluation: Evaluation,
    predictions: Predictions,
    reference: Predictions | None,
    classes: tuple[str, ...],
) -> tuple[ClassAccuracy, ...]:
    """Top-1 of each class that has an image, by class index."""
    own = _class_hits(evaluation, predictions, len(classes))
    theirs = None if reference is None else _class_hits(evaluation, reference, len(classes))
    counts = np.bincount(evaluation.labels, minlength=len(classes))
    return tuple(
        ClassAccuracy(
            index=int(index),
            name=classes[index],
            n=int(counts[index]),
            top1=100 * int(own[index]) / int(counts[index]),
            reference_top1=None if theirs is None else 100 * int(theirs[index]) / int(counts[index]),
        )
        for index in np.flatnonzero(counts)
    )


def confusions(evaluation: Evaluation, predictions: Predictions) -> tuple[tuple[int, int, int], ...]:
    """(label, choice, images) of wrong first choices, most frequent first; the rare of many are left out."""
    both = np.stack([evaluation.labels, predictions.choices[:, 0]], axis=1)
    pairs, counts = np.unique(both[both[:, 0] != both[:, 1]], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_CONFUSED]
    return tuple((int(pairs[at, 0]), int(pairs[at, 1]), int(counts[at])) for at in order)


def _share(hits: NDArray[np.bool_]) -> tuple[float, Interval]:
    """Percent of true values, and its 95 % interval in percent."""
    count, n = int(hits.sum()), len(hits)
    low, high = wilson_interval(count, n)
    return 100 * count / n, (100 * low, 100 * high)


def _class_hits(evaluation: Evaluation, predictions: Predictions, classes: int) -> NDArray[np.int64]:
    """(classes,): how many images of each class are right."""
    right = predictions.choices[:, 0] == evaluation.labels
    return np.bincount(evaluation.labels[right], minlength=classes)

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecnn.data.arrays import ArrayImages
from edgecnn.reports.result import Accuracy, Flip, Flips, Variant
from edgecnn.statistics import mcnemar_exact, wilson_interval
from edgecnn.validate import Difference, Evaluation, Predictions
from edgecnn.validate.accuracy import accuracy_of, class_accuracies, compared

REFERENCE = Variant(network="n", artifact="r.onnx", sha256="0", precision="fp32", engine="ort")
LABELS = [0, 0, 1, 1, 2, 2, 2, 2]
THEIRS = [0, 0, 1, 2, 2, 2, 0, 1]
OWN = [0, 1, 1, 1, 2, 2, 1, 1]
#: Images 10 to 17 of a source: two before them were bad.
EVALUATION = Evaluation(images=np.arange(10, 18), labels=np.array(LABELS), bad=(), predictions=(), wall_s=1.0)
SOURCE = ArrayImages("s", Path(), (), np.zeros(18, np.int64), np.zeros((18, 1, 1, 3), np.uint8))


def _predictions(first: list[int], difference: Difference | None = None) -> Predictions:
    """First choices as given; second to fifth choice are the classes that follow."""
    choices = np.array([[(one + step) % 7 for step in range(5)] for one in first])
    return Predictions(choices=choices, tied=3, run_s=0.5, difference=difference)


def _compared(difference: Difference | None = None) -> Accuracy:
    own = _predictions(OWN, difference)
    accuracy = accuracy_of(EVALUATION, own, 7)
    return compared(accuracy, EVALUATION, own, (REFERENCE, _predictions(THEIRS)), SOURCE)


def test_shares_are_percentages_with_their_interval() -> None:
    accuracy = accuracy_of(EVALUATION, _predictions(OWN), 7)
    low, high = wilson_interval(5, 8)
    assert (accuracy.n, accuracy.top1, accuracy.top1_ci95) == (8, 62.5, (100 * low, 100 * high))
    # Choices of class 1 hold 1 to 5: the label 0 is not among them, the label 2 is.
    assert accuracy.top5 == 87.5
    assert accuracy.top5_ci95 is not None
    assert accuracy.tied == 3
    assert accuracy.agreement is None
    assert accuracy.flipped is None


def test_among_five_classes_the_first_five_say_nothing() -> None:
    accuracy = accuracy_of(EVALUATION, _predictions(OWN), 5)
    assert (accuracy.top1, accuracy.top5, accuracy.top5_ci95) == (62.5, None, None)


def test_a_comparison_is_image_by_image() -> None:
    accuracy = _compared()
    assert accuracy.reference == REFERENCE
    assert accuracy.flips == Flips(gained=1, lost=1)
    assert accuracy.agreement == 62.5
    assert accuracy.mcnemar_p == mcnemar_exact(1, 1) == 1
    assert accuracy.flipped == (
        Flip(key="s[11]", label=0, reference=0, predicted=1),
        Flip(key="s[13]", label=1, reference=2, predicted=1),
        Flip(key="s[16]", label=2, reference=0, predicted=1),
    )


def test_equal_scores_have_no_noise_and_no_ratio() -> None:
    same = _compared(Difference(signal=4.0))
    assert (same.sqnr_db, same.max_abs_difference) == (None, 0.0)
    other = _compared(Difference(signal=100.0, noise=1.0, max_abs=0.5))
    assert (other.sqnr_db, other.max_abs_difference) == (20.0, 0.5)
    unknown = _compared()
    assert (unknown.sqnr_db, unknown.max_abs_difference) == (None, None)


def test_classes_without_an_image_are_left_out_of_the_table() -> None:
    names = tuple("abcdefg")
    rows = class_accuracies(EVALUATION, _predictions(OWN), _predictions(THEIRS), names)
    assert [(row.index, row.name, row.n, row.top1, row.reference_top1) for row in rows] == [
        (0, "a", 2, 50.0, 100.0),
        (1, "b", 2, 100.0, 50.0),
        (2, "c", 4, 50.0, 50.0),
    ]
    alone = class_accuracies(EVALUATION, _predictions(OWN), None, names)
    assert [row.reference_top1 for row in alone] == [None] * 3

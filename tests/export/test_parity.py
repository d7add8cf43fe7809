"""The comparison with PyTorch: what counts as equal, and at which batch sizes it is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecnn.export.parity import compare_scores, within_tolerance

scores = arrays(np.float32, (4, 6), elements=st.floats(-100, 100, width=32))


@given(scores)
def test_equal_scores_are_equal(reference: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    parity = compare_scores(reference, reference.copy(), images=4)
    assert (parity.max_abs, parity.sqnr_db, parity.top1_agreement) == (0.0, None, 100.0)
    assert within_tolerance(parity)


def test_figures_of_a_known_difference() -> None:
    reference = np.array([[1.0, 2.0, 4.0], [3.0, 0.0, 1.0]], np.float32)
    other = reference + np.array([[0, 0, 0.04], [0, 0, 0]], np.float32)
    parity = compare_scores(reference, other, images=2)
    assert parity.max_abs == pytest.approx(0.04, rel=1e-5)
    assert parity.max_rel == pytest.approx(0.01, rel=1e-5)
    assert parity.sqnr_db == pytest.approx(10 * np.log10(31 / 0.04**2), rel=1e-4)
    assert parity.top1_agreement == 100.0
    assert not within_tolerance(parity)


def test_another_winner_is_a_disagreement() -> None:
    reference = np.array([[5.0, 1.0], [1.0, 5.0]], np.float32)
    parity = compare_scores(reference, reference[::-1].copy() * np.float32(0.1), images=2)
    assert parity.top1_agreement == 0.0


def test_a_tie_within_the_difference_is_no_disagreement() -> None:
    reference = np.array([[1.0, 1.0 - 1e-7]], np.float32)
    other = np.array([[1.0 - 1e-7, 1.0]], np.float32)
    assert compare_scores(reference, other, images=1).top1_agreement == 100.0

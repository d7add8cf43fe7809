"""How near scores are to others: what counts, and what must not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from edgecnn.quantize.fidelity import divergence, fidelity

Array = NDArray[np.float32]

RNG = np.random.default_rng(0)
REFERENCE = (4 * RNG.normal(size=(64, 10))).astype(np.float32)
NOISE = RNG.normal(size=REFERENCE.shape).astype(np.float32)

scores = npst.arrays(np.float32, (5, 4), elements=st.floats(-100, 100, width=32))


def test_equal_scores_are_equal() -> None:
    found = fidelity(REFERENCE, REFERENCE.copy())
    assert (found.divergence, found.sqnr_db, found.agreement, found.images) == (0, 120, 100, 64)


@given(scores, scores)
def test_a_divergence_is_at_least_0_and_finite(reference: Array, other: Array) -> None:
    assert 0 <= divergence(reference, other) < math.inf
    assert divergence(reference, reference) == 0


@given(scores, npst.arrays(np.float32, (5, 1), elements=st.floats(-100, 100, width=32)))
def test_what_is_added_to_all_classes_of_an_image_does_not_count(other: Array, added: Array) -> None:
    # Sums of up to 200 in float32, off by 2**-17, in scores that are scaled to a deviation of 4.
    moved = other + added
    assert divergence(REFERENCE[:5, :4], moved) == pytest.approx(
        divergence(REFERENCE[:5, :4], other), rel=1e-3, abs=1e-3
    )


def test_the_unit_of_the_scores_does_not_count() -> None:
    other = REFERENCE + NOISE
    assert divergence(100 * REFERENCE, 100 * other) == pytest.approx(divergence(REFERENCE, other), rel=1e-4)


def test_more_noise_is_less_fidelity() -> None:
    found = [fidelity(REFERENCE, REFERENCE + size * NOISE) for size in (0.01, 0.1, 1, 10)]
    assert [item.divergence for item in found] == sorted(item.divergence for item in found)
    assert [item.sqnr_db for item in found] == sorted((item.sqnr_db for item in found), reverse=True)
    # The noise is 4 times smaller than the scores, and each tenfold is 20 dB; 640 values vary by about 0.5.
    assert [item.sqnr_db for item in found] == pytest.approx([52, 32, 12, -8], abs=1)
    assert found[0].agreement == 100
    assert found[3].agreement < 50


def test_close_calls_count_more_than_clear_ones() -> None:
    reference = np.array([[5, 4.9, -5, -6], [9, 1, -5, -6]], np.float32)
    close, clear = reference.copy(), reference.copy()
    close[0, 1] += 1
    clear[1, 3] += 1
    assert divergence(reference, close) > 10 * divergence(reference, clear)


def test_agreement_is_of_first_choices() -> None:
    reference = np.eye(4, dtype=np.float32)
    other = reference.copy()
    other[0] = [0, 0, 1, 0]
    assert fidelity(reference, other).agreement == 75


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_never_near(bad: float) -> None:
    other = REFERENCE.copy()
    other[3, 3] = bad
    found = fidelity(REFERENCE, other)
    assert (found.divergence, found.sqnr_db) == (math.inf, -math.inf)


def test_scores_of_other_images_or_classes_are_refused() -> None:
    for other in (REFERENCE[:, :9], REFERENCE[:1]):
        with pytest.raises(ValueError, match="shapes differ"):
            divergence(REFERENCE, other)
    with pytest.raises(ValueError, match="shapes differ"):
        fidelity(REFERENCE, REFERENCE[:, :9])
    with pytest.raises(ValueError, match="no images"):
        fidelity(REFERENCE[:0], REFERENCE[:0])

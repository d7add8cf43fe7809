"""How near scores are to others: what counts, and what must not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from edgecnn.quantize.fidelity import expected_agreement, fidelity, margins_of, noise

Array = NDArray[np.float32]

RNG = np.random.default_rng(0)
REFERENCE = (4 * RNG.normal(size=(64, 10))).astype(np.float32)
NOISE = RNG.normal(size=REFERENCE.shape).astype(np.float32)

scores = npst.arrays(np.float32, (5, 4), elements=st.floats(-100, 100, width=32))


def test_equal_scores_are_equal() -> None:
    found = fidelity(REFERENCE, REFERENCE.copy())
    assert (found.noise, found.sqnr_db, found.agreement, found.images) == (0, 120, 100, 64)


@given(scores, scores)
def test_a_noise_is_from_0_to_1(reference: Array, other: Array) -> None:
    assert 0 <= noise(reference, other) <= 1
    assert noise(reference, reference) == 0


@given(scores, npst.arrays(np.float32, (5, 1), elements=st.floats(-100, 100, width=32)))
def test_what_is_added_to_all_classes_of_an_image_does_not_count(other: Array, added: Array) -> None:
    # Sums of up to 200 are off by 2**-17 in float32, the reference's deviation is 4.
    reference = REFERENCE[:5, :4]
    assert noise(reference, other + added) == pytest.approx(noise(reference, other), abs=1e-4)


def test_the_unit_of_the_scores_does_not_count() -> None:
    other = REFERENCE + NOISE
    assert noise(100 * REFERENCE, 100 * other) == pytest.approx(noise(REFERENCE, other), rel=1e-4)


def test_more_noise_is_less_fidelity() -> None:
    found = [fidelity(REFERENCE, REFERENCE + size * NOISE) for size in (0.01, 0.1, 1, 10)]
    assert [item.noise for item in found] == sorted(item.noise for item in found)
    # The noise is 4 times smaller than the scores, 12 dB, and each tenfold is 20 dB; the mean of the images'
    # ratios is a little larger than the ratio of the means, by a factor of 9 / 7 for 10 classes.
    assert [item.sqnr_db for item in found[:3]] == pytest.approx([51, 31, 11], abs=1)
    assert found[3].sqnr_db == pytest.approx(0, abs=0.1), "as far off as scores that say nothing"
    assert found[0].agreement == 100
    assert found[3].agreement < 50


def test_every_image_has_the_same_say() -> None:
    reference = REFERENCE.copy()
    reference[0] *= 1000
    other = reference.copy()
    other[0] = reference[0][::-1]
    assert noise(reference, other) <= 1 / 64


def test_equal_scores_agree_even_where_two_classes_tie() -> None:
    assert expected_agreement(np.zeros((3, 4)), np.zeros((3, 4))) == 100


def test_every_margin_meets_every_error_of_the_narrower_half() -> None:
    # Margins 1, 2, 3, 4; errors 0, 2.5, 9 and 9, of which those of the two narrower margins count.
    reference = np.array([[1, 0], [2, 0], [3, 0], [4, 0]])
    other = np.array([[1, 0], [-0.5, 0], [-6, 0], [-5, 0]])
    assert expected_agreement(reference, other) == pytest.approx(100 * (1 - 2 / 8))


def test_margins_of_more_images_count() -> None:
    reference, other = np.array([[1, 0]]), np.array([[-0.5, 0]])
    assert expected_agreement(reference, other) == 0
    assert expected_agreement(reference, other, np.array([1.0, 2.0, 3.0, 4.0])) == 75


def test_an_image_without_finite_scores_could_undo_any_choice() -> None:
    other = REFERENCE.copy()
    other[margins_of(REFERENCE).argmin()] = np.nan
    assert expected_agreement(REFERENCE, other) == pytest.approx(100 * (1 - 1 / 32))


def test_a_margin_is_that_of_the_first_choice_over_the_second() -> None:
    assert margins_of(np.array([[1, 5, 3], [2, 2, 0]])).tolist() == [2, 0]


def test_one_class_is_always_chosen() -> None:
    assert expected_agreement(np.zeros((3, 1)), np.ones((3, 1))) == 100


def test_the_expectation_is_near_the_count_of_many_images_and_varies_less() -> None:
    rng = np.random.default_rng(5)
    expected, counted = [], []
    for _ in range(200):
        reference = rng.normal(size=(64, 10))
        other = reference + 0.05 * rng.normal(size=reference.shape)
        expected.append(expected_agreement(reference, other))
        counted.append(100 * (reference.argmax(axis=1) == other.argmax(axis=1)).mean())
    # The count's mean has a standard error of 0.2 here; the estimate takes one rival for all.
    assert np.mean(expected) == pytest.approx(np.mean(counted), abs=1)
    assert np.std(expected) < 0.8 * np.std(counted)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_image_whose_scores_are_not_finite_is_all_noise(bad: float) -> None:
    other = REFERENCE.copy()
    other[3, 3] = bad
    assert noise(REFERENCE, other) == pytest.approx(1 / 64)
    assert fidelity(REFERENCE, np.full_like(REFERENCE, bad)).sqnr_db == 0


def test_scores_of_other_images_or_classes_are_refused() -> None:
    for other in (REFERENCE[:, :9], REFERENCE[:1]):
        with pytest.raises(ValueError, match="shapes differ"):
            noise(REFERENCE, other)
    with pytest.raises(ValueError, match="shapes differ"):
        fidelity(REFERENCE, REFERENCE[:, :9])
    with pytest.raises(ValueError, match="no images"):
        fidelity(REFERENCE[:0], REFERENCE[:0])

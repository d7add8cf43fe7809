from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edgecnn.validate.ranking import count_tied, first_choices, probabilities, top_choices

#: Few distinct values, so that ties are the rule.
TIED = npst.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 12)),
    elements=st.integers(-3, 3).map(float) | st.floats(-1e3, 1e3, width=32),
)


@given(TIED, st.integers(1, 12))
def test_choices_are_by_score_then_by_index(scores: np.ndarray, count: int) -> None:
    chosen = first_choices(scores, count)
    for row, choices in zip(scores, chosen, strict=True):
        expected = sorted(range(len(row)), key=lambda index: (-row[index], index))
        assert choices.tolist() == expected[:count]


@given(TIED)
def test_the_first_choice_is_the_arg_max(scores: np.ndarray) -> None:
    assert first_choices(scores, 5)[:, 0].tolist() == scores.argmax(axis=1).tolist()


@given(TIED)
def test_ties_of_the_highest_score_are_counted(scores: np.ndarray) -> None:
    assert count_tied(scores) == sum(sorted(row)[-2:].count(max(row)) == 2 for row in scores.tolist())


@given(TIED)
def test_the_softmax_is_a_distribution_in_the_order_of_the_scores(scores: np.ndarray) -> None:
    shares = probabilities(scores, "logits")
    assert shares.sum(axis=1) == pytest.approx(1)
    assert (shares >= 0).all()
    # Scores that differ by less than float64 resolves in the exponent become equal shares.
    rows = np.arange(len(scores))
    assert (shares[rows, scores.argmax(axis=1)] == shares.max(axis=1)).all()


def test_the_softmax_of_large_logits_does_not_overflow() -> None:
    assert probabilities(np.array([[1e4, 1e4, 0]], np.float32), "logits").tolist() == [[0.5, 0.5, 0]]


def test_probabilities_stay_as_they_are() -> None:
    scores = np.array([[0.25, 0.75]], np.float32)
    assert probabilities(scores, "probabilities").tolist() == scores.tolist()


@given(TIED, st.sampled_from(["logits", "probabilities"]), st.integers(1, 12))
def test_the_top_is_what_sorting_everything_gives(scores: np.ndarray, kind: str, count: int) -> None:
    shares = probabilities(scores, kind)  # type: ignore[arg-type]
    wanted = first_choices(scores, count)
    for row, (chosen, found) in enumerate(top_choices(scores, kind, count)):  # type: ignore[arg-type]
        assert chosen.tolist() == wanted[row].tolist()
        np.testing.assert_allclose(found, shares[row, wanted[row]], rtol=1e-12)

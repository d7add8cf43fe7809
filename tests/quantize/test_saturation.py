"""Products of uint8 with int8, exact and with 16-bit sums of two that saturate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgecnn.quantize.saturation import can_saturate, exact_product, saturation_excess

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 3))

#: Mostly extremes: evenly drawn numbers saturate rarely.
ACTIVATIONS = st.one_of(st.sampled_from([0, 128, 254, 255]), st.integers(0, 255))
WEIGHTS = st.one_of(st.sampled_from([-128, -127, -64, 0, 64, 127]), st.integers(-128, 127))


@st.composite
def operands(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    rows, inner, columns = draw(SIZES)
    return (
        draw(arrays(np.uint8, (rows, inner), elements=ACTIVATIONS)),
        draw(arrays(np.int8, (inner, columns), elements=WEIGHTS)),
    )


def literal(activations: list[int], weights: list[int]) -> tuple[int, int]:
    """One dot product as VPMADDUBSW and an adder do it; and how many sums of two saturated."""
    total, saturated = 0, 0
    for at in range(0, len(activations), 2):
        pair = sum(a * w for a, w in zip(activations[at : at + 2], weights[at : at + 2], strict=True))
        limited = max(-32768, min(32767, pair))
        saturated += limited != pair
        total += limited
    return total, saturated


@given(operands())
@example((np.array([[255, 255]], np.uint8), np.array([[127], [127]], np.int8)))
@example((np.array([[255, 255]], np.uint8), np.array([[-128], [-128]], np.int8)))
@example((np.array([[255, 255]], np.uint8), np.array([[-128], [-1]], np.int8)))
def test_it_is_what_a_literal_loop_computes(pair: tuple[NDArray[np.uint8], NDArray[np.int8]]) -> None:
    activations, weights = pair
    exact = exact_product(activations, weights)
    assert np.array_equal(exact, activations.astype(np.int64) @ weights.astype(np.int64))
    excess, count = saturation_excess(activations, weights)
    expected = [[literal(row, column) for column in weights.T.tolist()] for row in activations.tolist()]
    assert (exact + excess).tolist() == [[total for total, _ in row] for row in expected]
    assert count == sum(saturated for row in expected for _, saturated in row)
    assert can_saturate(weights) or count == 0


@given(arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(1, 3)), elements=WEIGHTS))
def test_weights_that_can_saturate_do_for_some_activations(weights: NDArray[np.int8]) -> None:
    signs = [weights > 0, weights < 0]
    worst = [np.where(sign, 255, 0).astype(np.uint8).T for sign in signs]
    happens = any(saturation_excess(activations, weights)[1] for activations in worst)
    assert can_saturate(weights) == happens


@given(
    arrays(np.uint8, (2, 6), elements=ACTIVATIONS),
    arrays(np.int8, (6, 2), elements=st.integers(-64, 64)),
)
def test_weights_of_seven_bits_never_saturate(
    activations: NDArray[np.uint8], weights: NDArray[np.int8]
) -> None:
    assert not can_saturate(weights)
    assert saturation_excess(activations, weights)[1] == 0


@pytest.mark.parametrize("inner", [500, 530, 70_000])
def test_long_sums_are_exact(inner: int) -> None:
    activations = np.full((1, inner), 255, np.uint8)
    weights = np.full((inner, 1), 127, np.int8)
    weights[0] = 126
    assert exact_product(activations, weights).item() == 255 * (127 * inner - 1)

"""Histograms of streams: the same for any order and cut, exact at the ends, in bounded memory."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecnn.quantize.histogram import BINS, Histogram

Values = NDArray[np.float32]

MAGNITUDES = st.sampled_from([1e-45, 1e-40, 2.0**-61, 1e-12, 1e-3, 1.0, 255.0, 1e6, 1e30])
numbers = (
    st.builds(lambda unit, size: unit * size, st.floats(-1, 1, width=32), MAGNITUDES)
    | st.floats(-(2.0**100), 2.0**100, width=32)
    | st.integers(-6, 6).map(float)
)
streams = st.lists(numbers, min_size=1, max_size=40).map(lambda items: np.array(items, np.float32))
constants = st.builds(lambda value, count: np.full(count, value, np.float32), numbers, st.integers(1, 9))
arrays = streams | constants


def edges(histogram: Histogram) -> NDArray[np.float64]:
    """(bins + 1,): exact, since they are multiples of a power of two with at most 42 bits."""
    numbers = histogram.first + np.arange(len(histogram.counts) + 1)
    return numbers.astype(np.float64) * np.float64(histogram.width)


@given(arrays, st.randoms(use_true_random=False), st.lists(st.integers(1, 39), max_size=4))
def test_any_order_and_any_cut_give_the_same(values: Values, random: object, cuts: list[int]) -> None:
    whole = Histogram.of(values)
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    pieces = [piece for piece in np.split(shuffled, sorted(cuts)) if piece.size]
    summed = reduce(add, map(Histogram.of, pieces))
    assert (summed.exponent, summed.first) == (whole.exponent, whole.first)
    assert (summed.low, summed.high) == (whole.low, whole.high)
    np.testing.assert_array_equal(summed.counts, whole.counts)


@given(arrays)
def test_every_value_is_counted_in_the_bin_that_holds_it(values: Values) -> None:
    histogram = Histogram.of(values)
    expected, _ = np.histogram(values.astype(np.float64), np.append(edges(histogram)[:-1], np.inf))
    np.testing.assert_array_equal(histogram.counts, expected)
    assert values.max() < edges(histogram)[-1]
    assert histogram.counts.sum() == values.size


@given(arrays)
def test_the_ends_are_exact_and_the_bins_few(values: Values) -> None:
    histogram = Histogram.of(values)
    assert (histogram.low, histogram.high) == (float(values.min()), float(values.max()))
    assert len(histogram.counts) <= BINS
    assert histogram.counts[0] > 0 < histogram.counts[-1]
    np.testing.assert_allclose(histogram.centres, (edges(histogram)[:-1] + edges(histogram)[1:]) / 2)


def test_bins_are_as_fine_as_the_range_allows() -> None:
    # From -3 to 5 is a width of 8: 2,049 bins of 2**-8 would be needed, so that they are 2**-7 wide.
    histogram = Histogram.of(np.linspace(-3, 5, 10_000, dtype=np.float32))
    assert (histogram.width, len(histogram.counts)) == (2.0**-7, 1025)


def test_a_float_next_to_zero_is_below_it_however_wide_the_bins() -> None:
    tiny = Histogram.of(np.array([-1e-40], np.float32)) + Histogram.of(np.array([1e30], np.float32))
    at_once = Histogram.of(np.array([-1e-40, 1e30], np.float32))
    assert tiny.first == at_once.first == -1
    np.testing.assert_array_equal(tiny.counts, at_once.counts)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4, 5)])
def test_arrays_of_any_shape(shape: tuple[int, ...]) -> None:
    assert Histogram.of(np.ones(shape, np.float32)).counts.tolist() == [np.prod(shape, dtype=int)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    for values in ([bad], [0.0, bad, 1.0], [bad, -bad]):
        with pytest.raises(ValueError, match="NaN or infinite"):
            Histogram.of(np.array(values, np.float32))


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        Histogram.of(np.zeros((0, 3), np.float32))

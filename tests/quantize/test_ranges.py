"""From histograms to ranges: what each method keeps, and what quantising with it costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecnn.quantize.histogram import Histogram
from edgecnn.quantize.ranges import METHODS, Method, Range, choose_range

Values = NDArray[np.float32]

arrays = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60).map(
    lambda items: np.array(items, np.float32)
)


def samples(kind: str, count: int = 40_000) -> Values:
    """Activations of the forms that networks have."""
    rng = np.random.default_rng(3)
    drawn: dict[str, Callable[[], NDArray[np.float64]]] = {
        "normal": lambda: rng.normal(size=count),
        "after ReLU": lambda: np.maximum(rng.normal(size=count), 0),
        "after ReLU6": lambda: np.clip(rng.normal(3, 3, size=count), 0, 6),
        "heavy tails": lambda: rng.laplace(size=count) ** 3,
        "negative": lambda: -rng.exponential(size=count),
        "far from 0": lambda: rng.uniform(5, 6, size=count),
        "one outlier": lambda: np.append(rng.normal(size=count), 500.0),
    }
    return drawn[kind]().astype(np.float32)


KINDS = ("normal", "after ReLU", "after ReLU6", "heavy tails", "negative", "far from 0", "one outlier")


def quantised(values: Values, span: Range) -> NDArray[np.float64]:
    """To 256 levels of which one is 0, and back."""
    scale = (span[1] - span[0]) / 255
    zero = np.rint(-span[0] / scale)
    levels = np.clip(np.rint(values.astype(np.float64) / scale) + zero, 0, 255)
    return np.asarray((levels - zero) * scale, np.float64)


def squared_error(values: Values, span: Range) -> float:
    return float(np.mean((quantised(values, span) - values) ** 2))


@given(arrays, st.sampled_from(METHODS))
def test_a_range_holds_0_and_nothing_that_was_not_seen(values: Values, method: Method) -> None:
    low, high = choose_range(Histogram.of(values), method)
    assert min(0.0, float(values.min())) <= low <= 0 <= high <= max(0.0, float(values.max()))


@given(arrays)
def test_minmax_clips_nothing(values: Values) -> None:
    assert choose_range(Histogram.of(values), "minmax") == (
        min(0.0, float(values.min())),
        max(0.0, float(values.max())),
    )


@given(arrays, st.sampled_from(METHODS))
def test_within_the_range_no_value_is_off_by_more_than_half_a_step(values: Values, method: Method) -> None:
    span = choose_range(Histogram.of(values), method)
    inside = values[(values >= span[0]) & (values <= span[1])]
    if span[1] - span[0] < 1e-30:  # all zero, or as good as that
        return
    # The steps are computed in float64; 1e-9 of a step is for their rounding.
    half = (span[1] - span[0]) / 255 / 2
    assert np.all(np.abs(quantised(inside, span) - inside) <= half * (1 + 1e-9))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [5.0, -0.3, 1e-20, 1.2e-38, 3e8])
def test_a_constant_is_kept(method: Method, value: float) -> None:
    low, high = choose_range(Histogram.of(np.full(10, value, np.float32)), method)
    assert high - low == pytest.approx(abs(value))


@pytest.mark.parametrize("method", METHODS)
def test_only_zeros_span_nothing(method: Method) -> None:
    assert choose_range(Histogram.of(np.zeros(10, np.float32)), method) == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_mse_costs_no_more_than_minmax(kind: str) -> None:
    # It knows the values by their bins only; 2 % is for what that hides.
    values = samples(kind)
    histogram = Histogram.of(values)
    lossless = squared_error(values, choose_range(histogram, "minmax"))
    assert squared_error(values, choose_range(histogram, "mse")) <= 1.02 * lossless


def test_mse_clips_what_pays() -> None:
    """0.1 % of the values spread three times as far from 0 as the others."""
    rng = np.random.default_rng(5)
    values = np.append(rng.normal(size=100_000), rng.normal(size=100) * 3).astype(np.float32)
    low, high = choose_range(Histogram.of(values), "mse")
    assert values.min() < low
    assert high < values.max()
    lossless = squared_error(values, choose_range(Histogram.of(values), "minmax"))
    assert squared_error(values, (low, high)) < 0.9 * lossless


def test_mse_pays_for_no_zeros() -> None:
    """What ReLU made 0 is exact at any step: however many zeros are added, the range stays."""
    values = samples("after ReLU")
    more = np.append(values, np.zeros(10 * len(values), np.float32))
    assert choose_range(Histogram.of(values), "mse") == choose_range(Histogram.of(more), "mse")


@pytest.mark.parametrize("kind", ["normal", "heavy tails"])
def test_percentile_leaves_out_one_value_in_ten_thousand(kind: str) -> None:
    values = samples(kind, 1_000_000)
    low, high = choose_range(Histogram.of(values), "percentile")
    # Whole bins are kept: a little less than 0.01 % is left out.
    assert 0.8e-4 <= np.mean((values < low) | (values > high)) <= 1e-4
    assert np.mean(values < low) == pytest.approx(np.mean(values > high), abs=0.2e-4)


def test_percentile_of_what_a_relu_leaves_begins_at_0() -> None:
    values = samples("after ReLU", 1_000_000)
    low, high = choose_range(Histogram.of(values), "percentile")
    assert low == 0
    assert 0.4e-4 <= np.mean(values > high) <= 0.5e-4


def test_entropy_cuts_an_outlier_off() -> None:
    values = np.append(samples("after ReLU"), np.float32(30))
    low, high = choose_range(Histogram.of(values), "entropy")
    assert low == 0
    assert 2.5 < high < 6  # the largest of the others is 4.2


@pytest.mark.parametrize("method", METHODS)
def test_values_that_saturate_keep_the_value_at_which_they_do(method: Method) -> None:
    """A sixth of the values are 6: to clip them to less would cost more than any finer step gains."""
    values = samples("after ReLU6")
    low, high = choose_range(Histogram.of(values), method)
    assert low == 0
    assert high == pytest.approx(6, rel=0.02)

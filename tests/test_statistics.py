from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edgecnn.statistics import (
    decibel,
    drop_interval,
    mcnemar_exact,
    paired_drop_interval,
    powers,
    sqnr_db,
    wilson_interval,
)

COUNTS = st.integers(1, 60_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
FLIPS = st.integers(0, 400)

#: Gained, lost and all trials.
PAIRED = st.tuples(FLIPS, FLIPS, st.integers(0, 60_000)).map(
    lambda t: (t[0], t[1], max(1, t[0] + t[1] + t[2]))
)


def _coverage(n: int, p: float) -> float:
    """The probability that the interval holds ``p``, summed over all outcomes."""
    outcomes = ((k, wilson_interval(k, n)) for k in range(n + 1))
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k, (low, high) in outcomes if low <= p <= high)


@pytest.mark.parametrize("n", [20, 100, 300])
def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100(n: int) -> None:
    # Coverage of any interval for a count swings around its level; Wilson's stays within 3 points
    # for shares from 5 to 95 % and is right on average (Brown, Cai, DasGupta, Stat. Sci. 16, 2001).
    coverage = [_coverage(n, p) for p in np.linspace(0.05, 0.95, 37)]
    assert min(coverage) > 0.92
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.005)


@given(COUNTS, st.floats(0.5, 0.999))
def test_an_interval_holds_its_share_and_stays_within_0_and_1(
    counts: tuple[int, int], confidence: float
) -> None:
    low, high = wilson_interval(*counts, confidence)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1
    assert low < high


@given(COUNTS)
def test_successes_and_failures_have_mirrored_intervals(counts: tuple[int, int]) -> None:
    k, n = counts
    low, high = wilson_interval(k, n)
    assert wilson_interval(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(COUNTS)
def test_more_confidence_is_a_wider_interval(counts: tuple[int, int]) -> None:
    narrow, wide = wilson_interval(*counts, 0.9), wilson_interval(*counts, 0.99)
    assert wide[0] <= narrow[0] < narrow[1] <= wide[1]


def test_published_interval() -> None:
    # 81 of 263: the worked example of Newcombe, Statistics in Medicine 17, 1998, table I (method 3).
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


@pytest.mark.parametrize("arguments", [(1, 0), (-1, 5), (6, 5), (1, 2, 0.0), (1, 2, 1.0)])
def test_impossible_counts_have_no_interval(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(*arguments)


@given(FLIPS, FLIPS)
def test_mcnemar_is_a_symmetric_probability(gained: int, lost: int) -> None:
    p = mcnemar_exact(gained, lost)
    assert 0 < p <= 1
    assert p == mcnemar_exact(lost, gained)
    assert mcnemar_exact(gained + 1, lost) <= p or gained < lost


def test_mcnemar_by_hand() -> None:
    assert mcnemar_exact(0, 0) == 1
    assert mcnemar_exact(1, 0) == 1
    assert mcnemar_exact(0, 6) == 2 / 64
    assert mcnemar_exact(1, 6) == 2 * 8 / 128


def test_mcnemar_falsely_alarms_at_most_at_its_level() -> None:
    # Under "equally good" each of n flips falls either way: p <= 0.05 may come up 5 times in 100 at most.
    for n in (6, 17, 60):
        alarms = sum(math.comb(n, k) for k in range(n + 1) if mcnemar_exact(k, n - k) <= 0.05)
        assert alarms / 2**n <= 0.05


def test_a_wholly_broken_model_of_a_large_set_is_quick_and_certain() -> None:
    assert mcnemar_exact(30, 40_000) < 1e-300
    assert mcnemar_exact(4000, 4000) == 1


def test_negative_flips_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 2)


@given(PAIRED, st.floats(0.8, 0.999))
def test_a_paired_interval_holds_the_drop_that_was_measured(
    counts: tuple[int, int, int], confidence: float
) -> None:
    # From a confidence of 0.779 on, where z**2 is 1.5; below, its middle is too far towards 0 for one trial.
    gained, lost, n = counts
    low, high = paired_drop_interval(gained, lost, n, confidence)
    assert -1 <= low <= (lost - gained) / n <= high <= 1
    assert low < high


@given(PAIRED)
def test_gains_and_losses_have_mirrored_intervals(counts: tuple[int, int, int]) -> None:
    gained, lost, n = counts
    low, high = paired_drop_interval(gained, lost, n)
    assert paired_drop_interval(lost, gained, n) == pytest.approx((-high, -low), abs=1e-12)


@given(PAIRED)
def test_more_confidence_is_a_wider_paired_interval(counts: tuple[int, int, int]) -> None:
    narrow, wide = paired_drop_interval(*counts, 0.9), paired_drop_interval(*counts, 0.99)
    assert wide[0] <= narrow[0] < narrow[1] <= wide[1]


@given(PAIRED, st.integers(2, 9))
def test_the_same_flips_on_more_images_are_a_smaller_and_surer_drop(
    counts: tuple[int, int, int], times: int
) -> None:
    # Where most trials flip one way, more that do not make the share less certain, so up to half of them.
    gained, lost, n = counts[0], counts[1], max(counts[2], 2 * (counts[0] + counts[1]))
    few, many = paired_drop_interval(gained, lost, n), paired_drop_interval(gained, lost, n * times)
    assert many[1] - many[0] < few[1] - few[0]


@given(PAIRED, st.integers(4, 9))
def test_proportionally_more_of_all_is_a_surer_drop(counts: tuple[int, int, int], times: int) -> None:
    gained, lost, n = counts
    few = paired_drop_interval(gained, lost, n)
    many = paired_drop_interval(gained * times, lost * times, n * times)
    assert many[1] - many[0] < few[1] - few[0]


def _paired_coverage(n: int, gain: float, loss: float) -> float:
    """The probability that the interval holds ``loss - gain``, over all outcomes of ``n`` trials."""
    covered = 0.0
    for gained, lost in product(range(n + 1), repeat=2):
        rest = n - gained - lost
        if rest >= 0:
            low, high = paired_drop_interval(gained, lost, n)
            ways = math.comb(n, gained) * math.comb(n - gained, lost)
            chance = ways * gain**gained * loss**lost * (1 - gain - loss) ** rest
            covered += chance * (low <= loss - gain <= high)
    return covered


@pytest.mark.parametrize(
    ("gain", "loss"), [(0.0, 0.01), (0.01, 0.02), (0.05, 0.05), (0.02, 0.15), (0.3, 0.4)]
)
def test_a_paired_interval_holds_the_truth_about_95_times_in_100(gain: float, loss: float) -> None:
    # Bonett and Price, 2012, figure: from a little below its level up to 1 for few discordant pairs.
    assert _paired_coverage(60, gain, loss) > 0.93


def test_paired_interval_by_hand() -> None:
    # 2 gained and 5 lost of 98: shares 0.03 and 0.06; 1.959964 * sqrt((0.09 - 0.0009) / 100) = 0.058504.
    assert paired_drop_interval(2, 5, 98) == pytest.approx((0.03 - 0.058504, 0.03 + 0.058504), abs=1e-6)
    low, high = paired_drop_interval(0, 0, 1000)
    assert low == -high, "no flip among 1,000 says that it is small, not that it is 0"
    assert high == pytest.approx(0.0028, abs=5e-5)


@pytest.mark.parametrize(
    "arguments", [(-1, 0, 5), (0, -1, 5), (0, 0, 0), (3, 3, 5), (1, 1, 5, 0.0), (1, 1, 5, 1.0)]
)
def test_impossible_flips_have_no_interval(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no interval"):
        paired_drop_interval(*arguments)


@pytest.mark.parametrize(
    ("first", "second", "interval"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
    ],
)
def test_the_interval_of_an_unpaired_drop_is_that_of_the_paper(
    first: tuple[int, int], second: tuple[int, int], interval: tuple[float, float]
) -> None:
    # Newcombe 1998, table II, method 10.
    assert drop_interval(first, second) == pytest.approx(interval, abs=5e-5)


def test_agreement_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for k, n in [(0, 1), (1, 1), (3, 10), (807, 1000), (49_999, 50_000)]:
        interval = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert wilson_interval(k, n) == pytest.approx((interval.low, interval.high), abs=1e-12)
    for gained, lost in product((0, 1, 5, 40, 333), repeat=2):
        p = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert mcnemar_exact(gained, lost) == pytest.approx(p, rel=1e-9)


def test_sqnr_of_known_noise() -> None:
    reference = np.array([[3.0, 4.0]], np.float32)
    assert sqnr_db(reference, reference + 0.5) == pytest.approx(10 * math.log10(25 / 0.5))
    assert sqnr_db(reference, reference) is None
    assert sqnr_db(np.zeros((2, 2)), np.ones((2, 2))) == -math.inf


def test_sqnr_of_8_bit_rounding_is_about_6_decibel_a_bit() -> None:
    reference = np.random.default_rng(0).uniform(-1, 1, 20_000)
    rounded = np.round(reference * 127.5) / 127.5
    assert sqnr_db(reference, rounded) == pytest.approx(20 * math.log10(2) * 8, abs=0.2)


@given(npst.arrays(np.float32, (6, 3), elements=st.floats(-1e4, 1e4, width=32)), st.integers(1, 5))
def test_powers_add_up_over_batches(reference: np.ndarray, cut: int) -> None:
    other = reference + 1
    whole = powers(reference, other)
    parts = np.add(powers(reference[:cut], other[:cut]), powers(reference[cut:], other[cut:]))
    assert parts == pytest.approx(whole, rel=1e-9)
    assert decibel(*whole) == sqnr_db(reference, other)


def test_arrays_of_two_shapes_are_not_broadcast() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        sqnr_db(np.zeros((2, 3)), np.zeros((1, 3)))

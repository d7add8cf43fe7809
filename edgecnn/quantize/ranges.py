"""From a histogram of an activation to the range that its 8-bit levels shall span."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgecnn.quantize.histogram import Histogram

__all__ = ["METHODS", "Method", "Range", "choose_range"]

#: (low, high) in the unit of the activation; low is at most 0 and high at least 0, so that 0 is a level.
Range = tuple[float, float]
Method = Literal["minmax", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)

_LEVELS = 256

#: Of the values, how many percent the percentile method keeps within the range.
_KEPT = 99.99

#: How far the entropy and MSE methods shrink the ends, as shares of the distance from 0.
_SHRINKS = np.linspace(0.1, 1.0, 46)


def choose_range(histogram: Histogram, method: Method) -> Range:
    """The range to quantise ``histogram``'s activation with.

    ``minmax`` loses nothing to clipping; ``percentile`` leaves out 0.01 % of the values, half of them at
    each end; ``entropy`` takes the threshold whose quantised distribution is nearest to the original in
    Kullback-Leibler divergence (Migacz, 8-bit inference with TensorRT, GTC 2017); ``mse`` takes the ends
    with the least squared error of clipping and rounding (as in Banner et al., NeurIPS 2019, from the
    histogram instead of a fitted distribution).
    """
    low, high = _CHOICES[method](histogram)
    return min(0.0, max(float(low), histogram.low)), max(0.0, min(float(high), histogram.high))


def _minmax(histogram: Histogram) -> Range:
    return histogram.low, histogram.high


def _percentile(histogram: Histogram) -> Range:
    """Edges of the bins in which the two percentiles lie."""
    shares = np.cumsum(histogram.counts) / histogram.counts.sum()
    tail = (100 - _KEPT) / 200
    first = int(np.searchsorted(shares, tail, side="right"))
    last = int(np.searchsorted(shares, 1 - tail, side="left"))
    return (histogram.first + first) * histogram.width, (histogram.first + last + 1) * histogram.width


def _mse(histogram: Histogram) -> Range:
    """The best pair of ends; first the upper with the lower at its extreme, then the lower, twice over."""
    error = _expected_error(histogram)
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    ends = (low, high)
    for _ in range(2):
        ends = ends[0], min((high * s for s in _SHRINKS), key=lambda end: error(ends[0], end))
        ends = min((low * s for s in _SHRINKS), key=lambda end: error(end, ends[1])), ends[1]
    return ends


def _expected_error(histogram: Histogram) -> Callable[[float, float], float]:
    """The sum of squared errors of quantising to a range, as a function of its ends.

    Each value counts as the middle of its bin, at most a quarter of the full range's step wide. The usual
    twelfth of the step's square for each value would be too much for all that a ReLU made 0, and for tails
    so long that most values lie within half a step of 0.
    """
    centres, counts = histogram.centres, histogram.counts

    def error(low: float, high: float) -> float:
        step = (high - low) / (_LEVELS - 1) or 1.0
        zero = np.rint(-low / step)
        levels = np.clip(np.rint(centres / step) + zero, 0, _LEVELS - 1)
        return float(np.dot(counts, ((levels - zero) * step - centres) ** 2))

    return error


def _entropy(histogram: Histogram) -> Range:
    """Both ends are shrunk by the same share; ends as far from 0 as they are keep the range's form."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    candidates = [(low * shrink, high * shrink) for shrink in _SHRINKS[::-1]]  # of equals, the widest
    return min(candidates, key=lambda ends: _divergence(histogram, *ends))


def _divergence(histogram: Histogram, low: float, high: float) -> float:
    """Kullback-Leibler divergence from the clipped histogram to its quantised form, in nats."""
    centres, half = histogram.centres, histogram.width / 2
    below, above = centres + half <= low, centres - half > high  # of a bin that holds an end, all is inside
    inside = ~(below | above)
    kept = histogram.counts[inside].astype(np.float64)
    if high == low or not kept.sum():
        return np.inf
    steps = np.rint((centres[inside] - low) * ((_LEVELS - 1) / (high - low)))
    levels = np.clip(steps, 0, _LEVELS - 1).astype(np.int64)  # a bin may be wider than all of the range
    filled = kept > 0
    # A level's mass is spread evenly over those of its bins that hold a value at all.
    mass, bins = np.bincount(levels, kept), np.bincount(levels, filled.astype(np.float64))
    quantised = np.where(filled, mass[levels] / np.maximum(bins[levels], 1), 0.0)
    clipped = kept.copy()
    clipped[0] += histogram.counts[below].sum()
    clipped[-1] += histogram.counts[above].sum()
    return _kullback_leibler(clipped / clipped.sum(), quantised / quantised.sum())


def _kullback_leibler(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Infinite probability ratios, where only clipped mass falls, are bounded by a tiny probability."""
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / np.maximum(q[used], 1e-12))))


_CHOICES: dict[Method, Callable[[Histogram], Range]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mse,
}

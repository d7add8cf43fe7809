"""A histogram of a stream whose range is not known beforehand, in a fixed amount of memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Histogram"]

#: Bins that a histogram may use; 8 for each of the 256 levels of an 8-bit type.
BINS = 2048

#: The finest bins are 2**-60 wide: what is smaller counts as zero.
_FINEST = -60


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How often values fell into bins whose width is a power of two and whose edges are its multiples.

    The width is the smallest power of two with which at most :data:`BINS` bins reach from the smallest to
    the largest value. When the range grows, the bins of half the width nest exactly in the new ones. So the
    histogram of a stream is the same whatever the order of its values and however it was cut into pieces.

    Attributes:
        exponent: bins are ``2**exponent`` wide.
        first: the first bin begins at ``first * 2**exponent``.
        counts: (bins,) int64, values per bin.
        low: the smallest value, exactly.
        high: the largest value.
    """

    exponent: int
    first: int
    counts: NDArray[np.int64]
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Histogram:
        """The histogram of all ``values``, of any shape and finite, at least one.

        Raises:
            ValueError: there is no value, or one is NaN or infinite.
        """
        if not values.size:
            raise ValueError("no values")
        low, high = float(values.min()), float(values.max())
        if not math.isfinite(high - low):  # NaN spreads to both; so does a difference of infinities
            raise ValueError("a value is NaN or infinite")
        exponent = _exponent(low, high)
        first = _bin(low, exponent)
        # In bins wider than 1, a small negative float32 would be rounded to 0, and so into the wrong bin.
        real = np.float64 if exponent > 0 else np.float32
        scaled = values.ravel() * real(2.0**-exponent)
        np.floor(scaled, out=scaled)
        bins = scaled.astype(np.int64) - first
        return cls(exponent, first, np.bincount(bins), low, high)

    @property
    def width(self) -> float:
        """Of a bin, in the unit of the values."""
        return 2.0**self.exponent

    @property
    def centres(self) -> NDArray[np.float64]:
        """(bins,): the middle of each bin."""
        return np.arange(len(self.counts), dtype=np.float64) * self.width + (self.first + 0.5) * self.width

    def __add__(self, other: Histogram) -> Histogram:
        """The histogram of both streams."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        exponent = max(_exponent(low, high), self.exponent, other.exponent)
        first = _bin(low, exponent)
        counts = np.zeros(_bin(high, exponent) - first + 1, np.int64)
        for part in (self, other):
            into = ((part.first + np.arange(len(part.counts))) >> (exponent - part.exponent)) - first
            np.add.at(counts, into, part.counts)
        return Histogram(exponent, first, counts, low, high)


def _exponent(low: float, high: float) -> int:
    """Of the narrowest bins of which :data:`BINS` reach from ``low`` to ``high``."""
    exponent = _FINEST
    if high > low:
        exponent = max(exponent, math.frexp((high - low) / BINS)[1] - 1)
    # Floats near 2**62 and above would overflow a bin's number; coarser bins hold them all the same.
    # Zero is as small as can be, though frexp has it between a half and one.
    largest = max(abs(low), abs(high))
    exponent = max(exponent, math.frexp(largest)[1] - 40) if largest else exponent
    while _bin(high, exponent) - _bin(low, exponent) >= BINS:
        exponent += 1
    return exponent


def _bin(value: float, exponent: int) -> int:
    return math.floor(value * 2.0**-exponent)

"""How far samples in a row depend on each other, and what that does to intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dependence", "block_means", "estimate_dependence", "mean_interval"]

#: Fewer samples tell nothing of dependence, and count as independent.
_LEAST = 25

#: Longer series are first cut into at most so many blocks, whose means stand for them.
_MOST_BLOCKS = 4096

#: Fewer stretches without dependence on each other give no interval.
_LEAST_FREEDOM = 4.0

#: The 97.5 % point of the normal distribution.
_NORMAL = 1.959963984540054

#: A mean of fewer samples has no interval.
_LEAST_OF_MEAN = 5


@dataclass(frozen=True, slots=True)
class Dependence:
    """How far samples in a row depend on each other.

    Attributes:
        time: how many are worth one independent one, at least 1: the integrated autocorrelation time.
        freedom: degrees of freedom of this estimate: how many times the run is as long as dependence reaches,
            forth and back. Infinite where independence is taken for granted.
    """

    time: float
    freedom: float

    @property
    def price(self) -> float:
        """By how many times as many samples an interval needs as one of independent samples.

        That is the time, and what Student's t adds where it is itself uncertain.
        """
        return self.time * (_student(self.freedom) / _NORMAL) ** 2


def block_means(values: NDArray[Any], blocks: int) -> NDArray[np.float64]:
    """Means of ``blocks`` equally long pieces in a row; a rest at the start is left out.

    Args:
        values: (n,) in the order of time, n at least ``blocks``.
        blocks: at least 1.
    """
    length = len(values) // blocks
    kept = np.asarray(values[len(values) - blocks * length :], np.float64)
    means: NDArray[np.float64] = kept.reshape(blocks, length).mean(axis=1)
    return means


def estimate_dependence(values: NDArray[Any], samples: NDArray[Any]) -> Dependence | None:
    """How far ``values`` depend on each other; None where that reaches too far for the run to tell.

    The autocorrelations are summed up to where they vanish in noise (Geyer, Statistical Science 7, 1992: in
    pairs of lags), no matter after how many samples. A machine's moods show best in whether samples are above
    their median: where that depends over a longer stretch than ``values`` seem to, the sum goes so far. The
    sum lacks what the run's own mean takes away, which is given back, and has as many degrees of freedom as
    the run has windows (Madras and Sokal, Journal of Statistical Physics 50, 1988, appendix C).

    Fewer than 25 samples count as independent: nothing could be told.

    Args:
        values: (n,) numbers, or whether something holds of each sample, in the order of time.
        samples: (n,) that they are of; ``values`` itself for a mean.
    """
    count = len(values)
    if count < _LEAST:
        return Dependence(1.0, math.inf)
    blocks = count // math.ceil(count / _MOST_BLOCKS)
    own = _autocovariances(block_means(values, blocks))
    moods = _autocovariances(block_means(samples <= np.median(samples), blocks))
    windows = _reach(own), _reach(moods)
    freedom = blocks / (2 * max(windows) - 3)
    if freedom < _LEAST_FREEDOM:
        return None
    spread = float(np.var(np.asarray(values, np.float64)))
    if spread == 0:
        return Dependence(1.0, freedom)
    found = max(2 * float(own[:window].sum()) for window in windows) - float(own[0])
    time = (count // blocks) * found / spread * freedom / (freedom - 1)
    return Dependence(min(max(1.0, time), float(count)), freedom)


def mean_interval(values: NDArray[Any]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of samples in a row: Student's, widened by their dependence.

    None for fewer than five samples, and where they depend on each other over too long a stretch.

    Args:
        values: (n,) in the order of time.
    """
    count = len(values)
    found = estimate_dependence(values, values) if count >= _LEAST_OF_MEAN else None
    if found is None:
        return None
    error = math.sqrt(found.time * float(np.var(np.asarray(values, np.float64), ddof=1)) / count)
    half = _student(min(found.freedom, count - 1)) * error
    mean = float(np.mean(values))
    return mean - half, mean + half


def _autocovariances(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """At lags 0, 1, ... n - 1, each over n."""
    count = len(series)
    spectrum = np.fft.rfft(series - series.mean(), 1 << (2 * count - 1).bit_length())
    found: NDArray[np.float64] = np.fft.irfft(np.abs(spectrum) ** 2)[:count] / count
    return found


def _reach(covariances: NDArray[np.float64]) -> int:
    """How many lags, an even number from 2 on, come before the first pair that is not above its noise."""
    count = len(covariances)
    pairs = covariances[: count - 1 : 2] + covariances[1::2]
    small = np.flatnonzero(pairs <= covariances[0] / math.sqrt(count))
    return 2 * max(1, int(small[0]) if len(small) else len(pairs))


def _student(freedom: float) -> float:
    """The 97.5 % point of Student's t: Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5).

    Right to 0.4 % from 4 degrees of freedom on.
    """
    z = _NORMAL
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom ** (power + 1) for power, term in enumerate(terms))

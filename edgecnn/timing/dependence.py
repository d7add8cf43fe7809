"""How far samples in a row depend on each other, and what that does to intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["block_means", "correlation_time", "mean_interval"]

#: Blocks that a series is cut into: enough to estimate a variance, few enough to be long.
_BLOCKS = 32

#: Fewer blocks, or shorter ones, tell nothing of dependence.
_LEAST = 5


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


def correlation_time(values: NDArray[Any]) -> float:
    """How many samples are worth one independent one, at least 1: the integrated autocorrelation time.

    By batch means (Flegal and Jones, Annals of Statistics 38, 2010): the variance of the means of 32 blocks
    over what it would be, were the samples independent. Dependence that reaches further than a block, 1/32
    of the run, shows only in part. Fewer than 25 samples count as independent: nothing could be told.

    Args:
        values: (n,) numbers, or whether something holds, in the order of time.
    """
    blocks = min(_BLOCKS, len(values) // _LEAST)
    spread = float(np.var(np.asarray(values, np.float64)))
    if blocks < _LEAST or spread == 0:
        return 1.0
    length = len(values) // blocks
    found = length * float(np.var(block_means(values, blocks), ddof=1)) / spread
    return min(max(1.0, found), float(len(values)))


def mean_interval(values: NDArray[Any]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of samples in a row: Student's, of the means of blocks.

    The means of long blocks are close to normal and to independent though the samples are neither. None for
    fewer than five samples.

    Args:
        values: (n,) in the order of time.
    """
    blocks = min(_BLOCKS, len(values))
    if blocks < _LEAST:
        return None
    means = block_means(values, blocks)
    half = _student(blocks - 1) * float(np.std(means, ddof=1)) / math.sqrt(blocks)
    mean = float(np.mean(values))
    return mean - half, mean + half


def _student(freedom: int) -> float:
    """The 97.5 % point of Student's t: Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5).

    Right to 0.4 % from 4 degrees of freedom on.
    """
    z = 1.959963984540054
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom ** (power + 1) for power, term in enumerate(terms))

"""The statistics of accuracy figures: how sure one is, and whether two differ."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "decibel",
    "drop_interval",
    "mcnemar_exact",
    "paired_drop_interval",
    "powers",
    "sqnr_db",
    "wilson_interval",
]


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion (Wilson, JASA 22, 1927): both bounds, from 0 to 1.

    Unlike the textbook interval it stays within 0 and 1 and is right for proportions near them, which
    is where accuracies are.

    Args:
        successes: from 0 to ``n``.
        n: number of independent trials, at least 1.
        confidence: between 0 and 1, both excluded.

    Raises:
        ValueError: an argument is outside its range.
    """
    if not (0 <= successes <= n and n > 0 and 0 < confidence < 1):
        raise ValueError(f"no interval for {successes} of {n} at confidence {confidence}")
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # The exact bounds at the ends are 0 and 1; rounding must not leave the share outside its interval.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def mcnemar_exact(gained: int, lost: int) -> float:
    """The p-value of "both models are right equally often" (McNemar, Psychometrika 12, 1947).

    The exact two-sided binomial form: of the images that exactly one of two models has right, each is
    as likely to fall to either. Images that both have right, or both wrong, say nothing.

    Args:
        gained: images that only the second model has right.
        lost: images that only the first has right.

    Returns:
        From 0 to 1; 1 when there is no such image.

    Raises:
        ValueError: a count is negative.
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"counts cannot be negative: {gained}, {lost}")
    n = gained + lost
    tail = term = 1
    for i in range(min(gained, lost)):
        term = term * (n - i) // (i + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << n))


def paired_drop_interval(gained: int, lost: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of how much lower the second of two proportions is, measured on the same trials.

    The adjusted Wald interval of Bonett and Price (J. Educational and Behavioral Statistics 37, 2012), which
    holds its coverage for few discordant pairs, where the plain one shrinks to a point.

    Args:
        gained: trials in which only the second succeeded.
        lost: trials in which only the first did.
        n: all trials, at least 1 and at least ``gained + lost``.
        confidence: between 0 and 1, both excluded.

    Returns:
        Both bounds, from -1 to 1; positive where the second is lower.

    Raises:
        ValueError: an argument is outside its range.
    """
    if gained < 0 or lost < 0 or n < 1 or gained + lost > n or not 0 < confidence < 1:
        raise ValueError(f"no interval for {gained} gained, {lost} lost of {n} at confidence {confidence}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    down, up = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    half = z * math.sqrt((down + up - (down - up) ** 2) / (n + 2))
    return max(-1.0, down - up - half), min(1.0, down - up + half)


def drop_interval(
    first: tuple[int, int], second: tuple[int, int], confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of how much lower the second of two proportions is, measured on independent trials.

    The hybrid score interval of Newcombe (Statistics in Medicine 17, 1998, method 10). Of the same trials it
    is wider than :func:`paired_drop_interval`, and still true.

    Args:
        first: successes and trials, as :func:`wilson_interval` takes them.
        second: likewise.
        confidence: between 0 and 1, both excluded.

    Returns:
        Both bounds, from -1 to 1; positive where the second is lower.

    Raises:
        ValueError: an argument is outside its range.
    """
    (low1, high1), (low2, high2) = (wilson_interval(*one, confidence) for one in (first, second))
    share1, share2 = first[0] / first[1], second[0] / second[1]
    drop = share1 - share2
    return drop - math.hypot(share1 - low1, high2 - share2), drop + math.hypot(high1 - share1, share2 - low2)


def sqnr_db(reference: NDArray[Any], other: NDArray[Any]) -> float | None:
    """Signal-to-quantisation-noise ratio of ``other``, in decibel; None when both are equal.

    10 log10(power of the reference / power of the difference), computed in float64.

    Args:
        reference: what is right, of any shape and number type.
        other: of the same shape.
    """
    return decibel(*powers(reference, other))


def powers(reference: NDArray[Any], other: NDArray[Any]) -> tuple[float, float]:
    """Sums of squares of ``reference`` and of the difference, in float64: what adds up over batches.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != other.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {other.shape}")
    signal = reference.astype(np.float64)
    noise = signal - other.astype(np.float64)
    return float(np.vdot(signal, signal)), float(np.vdot(noise, noise))


def decibel(signal: float, noise: float) -> float | None:
    """The ratio of two powers in decibel; None when there is no noise, minus infinity for no signal."""
    if noise == 0:
        return None
    return 10 * math.log10(signal / noise) if signal else -math.inf

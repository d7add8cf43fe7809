"""Products of uint8 activations with int8 weights: exact, and as processors without VNNI compute them.

The instruction VPMADDUBSW multiplies unsigned with signed bytes and adds each two neighbouring products
into a signed 16-bit number *with saturation*: "Multiply packed unsigned bytes and signed bytes, add adjacent
products, and pack saturated signed words" (Intel 64 and IA-32 Architectures Software Developer's Manual,
volume 2, PMADDUBSW). Two products can reach 2 * 255 * 127 = 64770, and 16 bits hold 32767. VNNI's VPDPBUSD
adds four products in 32 bits and loses nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["can_saturate", "exact_product", "saturation_excess"]

_LOWEST, _HIGHEST = -(2**15), 2**15 - 1
_LARGEST_ACTIVATION = 255

#: Integers up to here are exact in float32; in float64 those of any layer are.
_EXACT_IN_FLOAT32 = 2**24

Activations = NDArray[np.uint8]
Weights = NDArray[np.int8]


def can_saturate(weights: Weights) -> bool:
    """Whether any activations make two neighbouring products leave 16 bits.

    Args:
        weights: (K, N) int8; rows 0 and 1 meet, then 2 and 3, and so on; an odd last one is alone.
    """
    return bool(_saturable(weights).any())


def exact_product(activations: Activations, weights: Weights) -> NDArray[np.float64]:
    """``activations @ weights`` without any rounding, as whole numbers in float64.

    Args:
        activations: (M, K) uint8.
        weights: (K, N) int8.
    """
    largest = _LARGEST_ACTIVATION * int(np.abs(weights.astype(np.int64)).sum(axis=0).max(initial=0))
    dtype: type[Any] = np.float32 if largest < _EXACT_IN_FLOAT32 else np.float64
    return np.asarray(activations.astype(dtype) @ weights.astype(dtype), np.float64)


def saturation_excess(activations: Activations, weights: Weights) -> tuple[NDArray[np.float64], int]:
    """What saturation adds to the exact product, and how often it happens.

    The sum of each two neighbouring products is limited to what 16 bits hold, from -32768 to 32767; the sum
    of these is not limited.

    Args:
        activations: (M, K) uint8.
        weights: (K, N) int8; rows 0 and 1 meet, then 2 and 3, and so on.

    Returns:
        (M, N) whole numbers in float64, and how many of the M * N * ceil(K / 2) sums saturate.
    """
    excess = np.zeros((activations.shape[0], weights.shape[1]))
    count = 0
    pairs = _pairs(weights)
    saturable = _saturable(weights)
    for pair in np.flatnonzero(saturable.any(axis=1)):
        both = activations[:, 2 * pair : 2 * pair + 2]
        columns = np.flatnonzero(saturable[pair])
        rows = np.flatnonzero(_may_saturate(both, pairs[pair][:, columns]))
        if rows.size:
            sums = both[rows].astype(np.float32) @ pairs[pair][: both.shape[1], columns]
            beyond = np.clip(sums, _LOWEST, _HIGHEST) - sums
            excess[np.ix_(rows, columns)] += beyond
            count += int(np.count_nonzero(beyond))
    return excess, count


def _pairs(weights: Weights) -> NDArray[np.float32]:
    """(ceil(K / 2), 2, N): neighbours beside each other, with 0 beside an odd last one."""
    even = np.pad(weights, ((0, weights.shape[0] % 2), (0, 0)))
    return even.reshape(-1, 2, weights.shape[1]).astype(np.float32)


def _saturable(weights: Weights) -> NDArray[np.bool_]:
    """(ceil(K / 2), N): whether the largest activations make the two products leave 16 bits."""
    pairs = _pairs(weights)
    highest = _LARGEST_ACTIVATION * np.maximum(pairs, 0).sum(axis=1)
    lowest = _LARGEST_ACTIVATION * np.minimum(pairs, 0).sum(axis=1)
    return np.asarray((highest > _HIGHEST) | (lowest < _LOWEST))


def _may_saturate(both: Activations, weights: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(M,): whether two activations are large enough for the largest of the weights.

    Cheap, and never wrong in saying no: |a b + c d| is at most (a + c) times the larger of |b| and |d|.
    """
    return np.asarray(both.sum(axis=1, dtype=np.float32) * np.abs(weights).max() > _HIGHEST)

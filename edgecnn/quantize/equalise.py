"""Scales channels so that they use the same 8-bit levels equally well, without changing the model.

Activations have one scale for all channels of a tensor. Where one channel is ten times as wide as another,
the narrow one gets a tenth of the levels. Since weights have a scale per output channel, the factor can be
moved: the convolution that writes a channel writes it smaller, the ones that read it multiply it back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.index import GraphIndex, attribute
from edgecnn.quantize.bias_correction import weighted_nodes
from edgecnn.quantize.channels import TiedChannels, tie_channels

__all__ = ["equalise"]

#: No channel is scaled by more than this, so that a channel that calibration hardly excited stays usable.
_LARGEST = 32.0

Magnitudes = Mapping[str, NDArray[np.float64]]


def equalise(model: onnx.ModelProto, magnitudes: Magnitudes, migration: float = 0.5) -> int:
    """Change the weights of ``model`` so that its activations' channels become alike.

    A channel's factor is ``a**migration / w**(1 - migration)``, with ``a`` the magnitude of its activation
    and ``w`` that of the weights that read it, both relative to their tensors' largest: the balance of Xiao
    et al. (SmoothQuant, ICML 2023), here for convolutions and for channels tied by additions.

    Args:
        model: with batch norm folded; changed in place. It computes what it did before, but for rounding.
        magnitudes: value name -> (C,) how large each of its channels gets, at least 0.
        migration: from 0 (only the weights count) to 1 (only the activations do).

    Returns:
        How many channels were scaled.
    """
    tied = tie_channels(model)
    index = GraphIndex(model.graph)
    factors = _factors(index, tied, magnitudes, migration)
    for node in weighted_nodes(index):
        _scale(node, index, tied, factors)
    return sum(factor != 1.0 for factor in factors.values())


def _factors(
    index: GraphIndex, tied: TiedChannels, magnitudes: Magnitudes, migration: float
) -> dict[int, float]:
    """Set -> what its channels are divided by."""
    wide: dict[int, float] = defaultdict(float)
    for name, ids in tied.channels.items():
        if name in magnitudes:
            relative = magnitudes[name] / max(float(magnitudes[name].max()), 1e-12)
            _raise_to(wide, ids, relative)
    heavy: dict[int, float] = defaultdict(float)
    for node in weighted_nodes(index):
        if node.input[0] in tied.channels:
            _raise_to(heavy, tied.channels[node.input[0]], _read_weights(node, index))
    return {
        item: _factor(wide[item], heavy[item], migration)
        for item, free in tied.free.items()
        if free and wide[item] > 0 and heavy[item] > 0
    }


def _factor(wide: float, heavy: float, migration: float) -> float:
    factor = wide**migration / heavy ** (1 - migration)
    # Powers of two would keep every rounding; others cost half a unit in the last place of a weight.
    return float(np.clip(factor, 1 / _LARGEST, _LARGEST))


def _raise_to(largest: dict[int, float], ids: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    for item, value in zip(ids.tolist(), values.tolist(), strict=True):
        largest[item] = max(largest[item], value)


def _read_weights(node: onnx.NodeProto, index: GraphIndex) -> NDArray[np.float64]:
    """(C,): the largest weight that reads each input channel, relative to its output channel's largest."""
    weights = np.abs(index.constant(node.input[1]).astype(np.float64))
    outputs = weights.reshape(len(weights), -1).max(axis=1)
    relative = weights / np.maximum(outputs, 1e-12).reshape(-1, *[1] * (weights.ndim - 1))
    groups = attribute(node, "group", 1)
    by_group = relative.reshape(groups, len(weights) // groups, weights.shape[1], -1)
    largest: NDArray[np.float64] = by_group.max(axis=(1, 3)).ravel()
    return largest


def _scale(node: onnx.NodeProto, index: GraphIndex, tied: TiedChannels, factors: dict[int, float]) -> None:
    weights = index.constant(node.input[1]).astype(np.float64)
    columns = _along(tied.channels.get(node.input[0]), factors)
    rows = _along(tied.channels.get(node.output[0]), factors)
    if columns is not None:
        groups = attribute(node, "group", 1)
        per_output = np.repeat(columns.reshape(groups, -1), len(weights) // groups, axis=0)
        weights *= per_output.reshape(len(weights), weights.shape[1], *[1] * (weights.ndim - 2))
    if rows is not None:
        weights /= rows.reshape(-1, *[1] * (weights.ndim - 1))
        if len(node.input) > 2 and node.input[2]:
            bias = index.constant(node.input[2]).astype(np.float64) / rows
            index.replace_input(node, 2, bias.astype(np.float32))
    if columns is not None or rows is not None:
        index.replace_input(node, 1, weights.astype(np.float32))


def _along(ids: NDArray[np.int64] | None, factors: dict[int, float]) -> NDArray[np.float64] | None:
    if ids is None:
        return None
    return np.array([factors.get(item, 1.0) for item in ids.tolist()])

"""Takes out of each bias the mean error that rounding puts into it.

Rounding changes a layer's output by ``W_rounded x_rounded - W x``, whose mean over images is not zero: the
inputs, after a ReLU, are not zero on average, and clipping makes them smaller. The mean goes into the bias
with the opposite sign (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
ICCV 2019, section 4.2). Layer by layer, each from its own input's mean in the float model, which the layers
before it, corrected alike, keep up; so errors do not add up along the network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.index import GraphIndex, attribute
from edgecnn.quantize.calibration import ChannelStatistics

__all__ = ["bias_name", "correct_biases", "round_weights", "weighted_nodes"]


def weighted_nodes(index: GraphIndex) -> list[onnx.NodeProto]:
    """Convolutions, and products whose weights are stored as (outputs, inputs), with constant weights."""
    return [
        node
        for node in index.graph.node
        if (node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0) == 1))
        and index.is_constant(node.input[1])
    ]


def round_weights(weights: NDArray[np.float32], levels: int = 127) -> NDArray[np.float32]:
    """``weights`` (outputs, ...) rounded to symmetric integers of one scale per output, and scaled back.

    Args:
        weights: of any number of dimensions, the first of which is the output channel.
        levels: the largest integer: 127, or 64 where the range of weights is reduced to 7 bits.

    Returns:
        Of the same shape; no value is further off than half a step, ``max(abs(row)) / levels / 2``.
    """
    flat = weights.reshape(len(weights), -1)
    steps = np.abs(flat).max(axis=1, keepdims=True) / levels
    steps[steps == 0] = 1.0
    rounded: NDArray[np.float32] = np.clip(np.rint(flat / steps), -levels, levels) * steps
    return rounded.reshape(weights.shape).astype(np.float32, copy=False)


def correct_biases(
    model: onnx.ModelProto,
    statistics: Mapping[str, ChannelStatistics],
    levels: int,
    keep_float: Collection[str] = (),
) -> int:
    """Correct the biases of ``model`` for the rounding that is to come.

    Args:
        model: in float; changed in place. A layer without a bias gets one.
        statistics: value name -> that of its channels on calibration images, before and after rounding.
        levels: the largest integer that a weight will be rounded to.
        keep_float: names of the nodes that will not be rounded: their weights stay, and so does what another
            of them hands on to them.

    Returns:
        How many layers were corrected.
    """
    index = GraphIndex(model.graph)
    corrected = 0
    for node in weighted_nodes(index):
        if node.input[0] not in statistics:
            continue
        found, weights = statistics[node.input[0]], index.constant(node.input[1])
        rounded = weights if node.name in keep_float else round_weights(weights, levels)
        maker = index.producers.get(node.input[0])
        exact = node.name in keep_float and maker is not None and maker.name in keep_float
        mean = found.mean if exact else found.rounded_mean
        groups = attribute(node, "group", 1)
        _shift(node, index, _mean_output(rounded, mean, groups) - _mean_output(weights, found.mean, groups))
        corrected += 1
    return corrected


def bias_name(node: onnx.NodeProto, index: GraphIndex) -> str:
    """The initialiser that is the bias of ``node``, made of zeros where it has none."""
    if len(node.input) < 3 or not node.input[2]:
        outputs = index.constant(node.input[1]).shape[0]
        del node.input[2:]
        node.input.append(index.add_constant(f"{node.name}.bias", np.zeros(outputs, np.float32)))
    return str(node.input[2])


def _mean_output(weights: NDArray[np.float32], mean: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """(outputs,): the mean of ``W x``; padding at the borders is neglected."""
    per_input = weights.astype(np.float64).reshape(len(weights), weights.shape[1], -1).sum(axis=2)
    by_group = per_input.reshape(groups, len(weights) // groups, weights.shape[1])
    output: NDArray[np.float64] = np.einsum("goi,gi->go", by_group, mean.reshape(groups, -1)).ravel()
    return output


def _shift(node: onnx.NodeProto, index: GraphIndex, error: NDArray[np.float64]) -> None:
    index.replace_input(node, 2, (index.constant(bias_name(node, index)) - error).astype(np.float32))

"""Rounds weights so that their errors cancel out in what the layer computes.

Rounding to nearest makes every weight's error small, and the output's only by luck. What counts is the
output's error ``(Q - W) x``, whose variance is ``(Q - W) C (Q - W)'`` with C the covariance of what the layer
reads. So weights are rounded one after the other, and the error of each goes into those that come after it,
as far as their inputs vary together (Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers, ICLR 2023; the update is that of Hassibi and Stork's Optimal Brain Surgeon, 1992).
The output's mean error is taken out of the bias, exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.index import GraphIndex, attribute
from edgecnn.quantize.bias_correction import bias_name
from edgecnn.quantize.patches import measure_moments
from edgecnn.quantize.sessions import Images

__all__ = ["RoundedLayer", "put_rounded", "round_jointly", "round_layers"]

#: Added to the variances, as a share of their mean: few images do not span all that a layer may read.
_DAMPING = 0.05

#: Columns whose errors are handed on together: one large product instead of many small ones.
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class RoundedLayer:
    """A layer's weights on their grid.

    Attributes:
        weights: of the layer's shape, float32; rounding them to nearest changes nothing.
        shift: (outputs,) float64, what to add to the bias.
    """

    weights: NDArray[np.float32]
    shift: NDArray[np.float64]


def round_layers(
    model: onnx.ModelProto, images: Images, levels: int, *, threads: int
) -> dict[str, RoundedLayer]:
    """The layers of ``model``, by the name of their node, with weights rounded for ``images``.

    Args:
        model: in float32; it is not changed.
        images: what the layers are to see.
        levels: the largest integer of a weight.
        threads: to use.
    """
    index, rounded = GraphIndex(model.graph), {}
    for node, moments in measure_moments(model, images, threads=threads):
        weights = index.constant(node.input[1])
        groups = attribute(node, "group", 1)
        grouped = weights.reshape(groups, len(weights) // groups, -1).astype(np.float64)
        found = round_jointly(grouped, moments.covariance, levels)
        shift = -np.einsum("gok,gk->go", found - grouped, moments.mean).ravel()
        rounded[node.name] = RoundedLayer(found.reshape(weights.shape).astype(np.float32), shift)
    return rounded


def put_rounded(
    model: onnx.ModelProto, layers: Mapping[str, RoundedLayer], keep_float: Collection[str]
) -> None:
    """Give ``model`` the weights of ``layers``, in place; nodes of ``keep_float`` keep their own."""
    index = GraphIndex(model.graph)
    for node in model.graph.node:
        if node.name in layers and node.name not in keep_float:
            layer = layers[node.name]
            bias = index.constant(bias_name(node, index))
            index.replace_input(node, 2, (bias + layer.shift).astype(np.float32))
            index.replace_input(node, 1, layer.weights)


def round_jointly(
    weights: NDArray[np.float64], covariance: NDArray[np.float64], levels: int
) -> NDArray[np.float64]:
    """``weights`` on a grid of one step per output, ``max(abs(row)) / levels``, nearest in the output.

    The largest weight of each output stays as it is, at the end of the grid: so the grid can be found
    from the result again.

    Args:
        weights: (groups, outputs, inputs).
        covariance: (groups, inputs, inputs) of what they are multiplied with, symmetric.
        levels: the largest integer.

    Returns:
        Multiples of the steps, of the shape of ``weights``.
    """
    steps = np.abs(weights).max(axis=2) / levels
    steps[steps == 0] = 1.0
    variances = np.einsum("gkk->gk", covariance)
    order = np.argsort(-variances.mean(axis=0), kind="stable")  # what matters most goes first
    factors = _factors(covariance[:, order][:, :, order], variances.mean(axis=1))
    exact = weights[:, :, order]
    largest = np.abs(exact).argmax(axis=2)
    left, rounded = exact.copy(), np.empty_like(exact)
    inputs = len(order)
    for start in range(0, inputs, _BLOCK):
        stop = min(start + _BLOCK, inputs)
        errors = np.empty((*steps.shape, stop - start))
        for at in range(start, stop):
            nearest = np.clip(np.rint(left[:, :, at] / steps), -levels, levels) * steps
            rounded[:, :, at] = np.where(largest == at, exact[:, :, at], nearest)
            error = (left[:, :, at] - rounded[:, :, at]) / factors[:, at, at, np.newaxis]
            left[:, :, at + 1 : stop] -= error[:, :, np.newaxis] * factors[:, np.newaxis, at, at + 1 : stop]
            errors[:, :, at - start] = error
        left[:, :, stop:] -= errors @ factors[:, start:stop, stop:]
    result = np.empty_like(rounded)
    result[:, :, order] = rounded
    return result


def _factors(covariance: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(groups, inputs, inputs): the upper Cholesky factors of the damped covariance's inverse."""
    damping = _DAMPING * variance + np.finfo(np.float32).tiny
    damped = covariance + damping[:, np.newaxis, np.newaxis] * np.eye(covariance.shape[-1])
    factors: NDArray[np.float64] = np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(1, 2)
    return factors

"""Convolutions and matrix products of uint8 activations with int8 weights, taken out of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecnn.errors import ArtifactError
from edgecnn.graph.index import GraphIndex, attribute
from edgecnn.quantize.saturation import can_saturate, exact_product, saturation_excess
from edgecnn.quantize.windows import ConvWindow, depthwise, kernel_rows, padded, patches

__all__ = ["IntegerProduct", "integer_products"]

_INTEGER_OPERATORS = frozenset({"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"})

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerProduct:
    """A convolution or matrix product of uint8 with int8.

    Attributes:
        name: of the node.
        output: the value that it makes.
        source: the uint8 value that it takes.
        window: of a convolution; None for a matrix product.
        transposed: whether a matrix product takes its activations transposed.
        weights: (K, N / groups) int8 per group, rows in the order of the patches.
        zero_point: of the activations.
        weight_zero_points: (N,), of the weights.
        scale: (N,), real units per step of the sums.
        bias: (N,), real.
    """

    name: str
    output: str
    source: str
    window: ConvWindow | None
    transposed: bool
    weights: tuple[NDArray[np.int8], ...]
    zero_point: int
    weight_zero_points: NDArray[np.float64]
    scale: NDArray[np.float64]
    bias: NDArray[np.float64]

    @property
    def depthwise(self) -> bool:
        """Whether each group has one channel in and one out."""
        if self.window is None or self.window.groups == 1:
            return False
        return self.weights[0].shape == (prod(self.window.kernel), 1)

    @cached_property
    def able(self) -> bool:
        """Whether some activations make it saturate."""
        return not self.depthwise and any(can_saturate(weights) for weights in self.weights)

    def exact(self, activations: Array) -> Array:
        """The real output for uint8 ``activations``, in float32."""
        if self.depthwise:
            return self._depthwise(activations)
        return self._apply(activations, exact_product)

    def saturating(self, activations: Array, observe: Callable[[int, int], None]) -> Array:
        """Likewise, without VNNI; ``observe`` is told how many sums of two saturated, of how many."""

        def product(rows: Array, weights: NDArray[np.int8]) -> Array:
            excess, count = saturation_excess(rows, weights)
            observe(count, rows.shape[0] * weights.shape[1] * ((weights.shape[0] + 1) // 2))
            return exact_product(rows, weights) + excess

        return self._apply(activations, product)

    def _apply(self, activations: Array, product: Callable[[Array, NDArray[np.int8]], Array]) -> Array:
        if self.window is None:
            matrix = activations.T if self.transposed else activations
            sums = self._sums(matrix.reshape(-1, matrix.shape[-1]), 0, product)
            return self._real(sums.reshape(*matrix.shape[:-1], -1))
        images = padded(activations, self.window, self.zero_point)
        parts = []
        for group, channels in enumerate(np.split(images, self.window.groups, axis=1)):
            seen = patches(channels, self.window)
            sums = self._sums(seen.reshape(-1, seen.shape[-1]), group, product)
            parts.append(sums.reshape(*seen.shape[:-1], -1))
        return _channels_first(self._real(np.concatenate(parts, axis=-1)))

    def _sums(self, rows: Array, group: int, product: Callable[[Array, NDArray[np.int8]], Array]) -> Array:
        """Of (activation - its zero point) * (weight - its zero point), multiplied out.

        The runtime multiplies the stored numbers, and corrects for the zero points afterwards.
        """
        weights = self.weights[group]
        size = weights.shape[1]
        zeros = self.weight_zero_points[group * size : (group + 1) * size]
        sums = product(rows, weights) - self.zero_point * weights.sum(axis=0, dtype=np.float64)
        if zeros.any():
            centred = rows.sum(axis=1, dtype=np.float64) - len(weights) * self.zero_point
            sums -= centred[:, None] * zeros
        return np.asarray(sums)

    def _depthwise(self, activations: Array) -> Array:
        assert self.window is not None
        images = padded(activations.astype(np.float32) - self.zero_point, self.window, 0)
        centred = np.stack([weights[:, 0] for weights in self.weights]) - self.weight_zero_points[:, None]
        kernels = centred.astype(np.float32).reshape(-1, *self.window.kernel)
        return _channels_first(self._real(np.moveaxis(depthwise(images, kernels, self.window), 1, -1)))

    def _real(self, sums: Array) -> Array:
        return np.asarray(sums * self.scale + self.bias, np.float32)


def _channels_first(values: Array) -> Array:
    """(N, ..., C) as (N, C, ...)."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 1))


def integer_products(model: onnx.ModelProto) -> list[IntegerProduct]:
    """Every convolution or matrix product of uint8 activations with int8 weights.

    Raises:
        ArtifactError: the model holds operators on integers instead.
    """
    _require_pairs(model)
    index = GraphIndex(model.graph)
    found = (_product(node, index) for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul"))
    return [product for product in found if product is not None]


@dataclass(frozen=True, slots=True)
class _Dequantised:
    """What a DequantizeLinear takes: a value and constants."""

    value: str
    scale: Array
    zero_point: Array
    axis: int


def _product(node: onnx.NodeProto, index: GraphIndex) -> IntegerProduct | None:
    """``node`` as a product of uint8 with int8, or None if it is none or something of it is not constant."""
    activations, weights = (_dequantised(name, index) for name in node.input[:2])
    if activations is None or weights is None or activations.scale.size != 1:
        return None
    stored = index.array(weights.value)
    bias = _real_constant(node.input[2], index) if len(node.input) > 2 and node.input[2] else np.zeros(())
    if stored is None or bias is None or activations.value in index.constants:
        return None
    if stored.dtype != np.int8 or activations.zero_point.dtype != np.uint8:
        return None
    return _with_weights(node, activations, weights, stored, bias)


def _with_weights(
    node: onnx.NodeProto, activations: _Dequantised, weights: _Dequantised, stored: Array, bias: Array
) -> IntegerProduct | None:
    arranged = _arranged(node, stored)
    transposed = attribute(node, "transB", 0) == 1
    along_outputs = 0 if node.op_type == "Conv" or transposed else stored.ndim - 1
    if arranged is None or (weights.scale.size > 1 and weights.axis % stored.ndim != along_outputs):
        return None
    outputs = stored.shape[along_outputs]
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    unscaled = weights.scale.astype(np.float64).ravel() * float(activations.scale.item())
    return IntegerProduct(
        name=node.name or node.output[0],
        output=node.output[0],
        source=activations.value,
        window=ConvWindow.of(node, stored.shape[2:]) if node.op_type == "Conv" else None,
        transposed=attribute(node, "transA", 0) == 1,
        weights=arranged,
        zero_point=int(activations.zero_point.item()),
        weight_zero_points=np.broadcast_to(weights.zero_point.astype(np.float64).ravel(), outputs),
        scale=np.broadcast_to(unscaled * alpha, outputs),
        bias=bias * beta,
    )


def _arranged(node: onnx.NodeProto, stored: Array) -> tuple[NDArray[np.int8], ...] | None:
    """The weights as matrices (K, N / groups), one per group; None for what is not covered."""
    if node.op_type == "Conv":
        return tuple(kernel_rows(group) for group in np.split(stored, attribute(node, "group", 1)))
    if stored.ndim != 2:
        return None
    return (stored.T if attribute(node, "transB", 0) else stored,)


def _dequantised(name: str, index: GraphIndex) -> _Dequantised | None:
    """What ``name`` is dequantised from; None if it is not, or if scale or zero point are not constant."""
    maker = index.producers.get(name)
    if maker is None or maker.op_type != "DequantizeLinear" or attribute(maker, "block_size", 0):
        return None
    scale = index.array(maker.input[1])
    zero_point = index.array(maker.input[2]) if len(maker.input) > 2 and maker.input[2] else None
    if scale is None or (zero_point is None and len(maker.input) > 2 and maker.input[2]):
        return None
    if zero_point is None:
        stored = index.constants.get(maker.input[0])
        dtype = helper.tensor_dtype_to_np_dtype(stored.data_type if stored else TensorProto.UINT8)
        zero_point = np.zeros((), dtype)
    return _Dequantised(maker.input[0], scale, zero_point, attribute(maker, "axis", 1))


def _real_constant(name: str, index: GraphIndex) -> NDArray[np.float64] | None:
    """A constant, dequantised if it is stored so; None if it is none."""
    plain = index.array(name)
    if plain is not None:
        return plain.astype(np.float64)
    found = _dequantised(name, index)
    stored = None if found is None else index.array(found.value)
    if found is None or stored is None:
        return None
    return np.asarray((stored.astype(np.float64) - found.zero_point) * found.scale.astype(np.float64))


def _require_pairs(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type in _INTEGER_OPERATORS:
            raise ArtifactError(
                f"The model is quantised with operators on integers ({node.op_type} {node.name!r}).",
                "This check reads models with QuantizeLinear and DequantizeLinear, which 'edgecnn quantize' "
                "writes: quantise the float model with it.",
            )

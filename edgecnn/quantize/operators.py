"""Operators for ONNX's evaluator in numpy: those that it lacks in old opsets, or has slow ones for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun

from edgecnn.quantize.windows import ConvWindow, depthwise, kernel_rows, padded, patches

__all__ = ["OPERATORS", "AveragePool", "Conv", "DequantizeLinear", "MaxPool", "QuantizeLinear"]

Array = NDArray[Any]


class QuantizeLinear(OpRun):
    """ONNX's, for scales of a tensor or of an axis: divide, round half to even, add, limit."""

    op_domain = ""

    def _run(
        self, real: Array, scale: Array, zero_point: Array | None = None, axis: int = 1, **_: object
    ) -> tuple[Array]:
        zero = np.zeros((), np.uint8) if zero_point is None else zero_point
        limits = np.iinfo(zero.dtype)
        steps = np.rint(real / _along(scale, axis, real.ndim))
        steps += _along(zero, axis, real.ndim).astype(real.dtype)
        return (np.clip(steps, limits.min, limits.max).astype(zero.dtype),)


class DequantizeLinear(OpRun):
    """ONNX's, for scales of a tensor or of an axis."""

    op_domain = ""

    def _run(
        self, stored: Array, scale: Array, zero_point: Array | None = None, axis: int = 1, **_: object
    ) -> tuple[Array]:
        zero = np.zeros((), stored.dtype) if zero_point is None else zero_point
        steps = stored.astype(np.int64) if stored.itemsize > 2 else stored.astype(np.float32)
        centred = steps - _along(zero, axis, stored.ndim).astype(steps.dtype)
        return (np.asarray(centred * _along(scale, axis, stored.ndim), scale.dtype),)


class MaxPool(OpRun):
    """ONNX's, without indices."""

    op_domain = ""

    def _run(self, images: Array, **attributes: Any) -> tuple[Array]:  # noqa: ANN401 - of many types
        window = ConvWindow.from_attributes(attributes, tuple(attributes["kernel_shape"]))
        if attributes.get("ceil_mode"):
            window = window.reaching_the_end(images.shape[2:])
        lowest = np.iinfo(images.dtype).min if images.dtype.kind in "iu" else -np.inf
        whole = padded(images, window, lowest)
        seen = sliding_window_view(whole, window.span, axis=tuple(range(2, whole.ndim)))
        seen = seen[(slice(None), slice(None), *window.steps, *window.taps)]
        return (seen.max(axis=tuple(range(whole.ndim, seen.ndim))),)


class AveragePool(OpRun):
    """ONNX's."""

    op_domain = ""

    def _run(self, images: Array, **attributes: Any) -> tuple[Array]:  # noqa: ANN401 - of many types
        window = ConvWindow.from_attributes(attributes, tuple(attributes["kernel_shape"]))
        counted = padded(np.ones((1, 1, *images.shape[2:]), images.dtype), window, _counts(attributes))
        whole = padded(images, window, 0)
        if attributes.get("ceil_mode"):
            longer = window.reaching_the_end(images.shape[2:]).pads_for(images.shape[2:])
            sizes = zip(images.shape[2:], longer, strict=True)
            size = [length + before + after for length, (before, after) in sizes]
            counted, whole = (_extended(each, size) for each in (counted, whole))
        ones = np.ones((1, *window.kernel), images.dtype)
        sums = depthwise(whole, np.repeat(ones, images.shape[1], axis=0), window)
        return (sums / depthwise(counted, ones, window),)


class Conv(OpRun):
    """ONNX's in float32."""

    op_domain = ""

    def _run(
        self, images: Array, weight: Array, bias: Array | None = None, **attributes: object
    ) -> tuple[Array]:
        window = ConvWindow.from_attributes(attributes, weight.shape[2:])
        whole = padded(images, window, 0)
        if window.groups > 1 and weight.shape[:2] == (window.groups, 1):
            result = depthwise(whole, weight[:, 0], window)
        else:
            result = _grouped(whole, weight, window)
        return (result if bias is None else result + bias.reshape(-1, *[1] * window.axes),)


OPERATORS: tuple[type[OpRun], ...] = (QuantizeLinear, DequantizeLinear, MaxPool, AveragePool, Conv)


def _counts(attributes: Mapping[str, Any]) -> int:
    """1 where the padding counts as pixels of value 0, else 0."""
    return 1 if attributes.get("count_include_pad") else 0


def _extended(images: Array, size: Sequence[int]) -> Array:
    """(N, C, ...) with zeros after each spatial axis, up to ``size``."""
    missing = [(0, wanted - length) for wanted, length in zip(size, images.shape[2:], strict=True)]
    return np.pad(images, ((0, 0), (0, 0), *missing))


def _along(values: Array, axis: int, dimensions: int) -> Array:
    """One number, or one per element of ``axis``, as broadcast against ``dimensions``."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * dimensions
    shape[axis] = values.size
    return values.reshape(shape)


def _grouped(images: Array, weight: Array, window: ConvWindow) -> Array:
    channels = np.split(images, window.groups, axis=1)
    kernels = np.split(weight, window.groups)
    parts = [
        patches(part, window) @ kernel_rows(kernel) for part, kernel in zip(channels, kernels, strict=True)
    ]
    return np.ascontiguousarray(np.moveaxis(np.concatenate(parts, axis=-1), -1, 1))

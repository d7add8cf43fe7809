"""Convolutions as matrix products in numpy, channels innermost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx.helper import get_attribute_value

__all__ = ["ConvWindow", "depthwise", "kernel_rows", "padded", "patches"]

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvWindow:
    """How a convolution moves over any number of spatial axes, such as height and width.

    Attributes:
        kernel: size along each spatial axis.
        strides: along each.
        dilations: along each.
        pads: before each axis, then after each; None for as many as keep ceil(size / stride), see
            ``extra_at_end``.
        extra_at_end: where the odd one of such pads goes.
        groups: parts of the channels that are convolved on their own.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...] | None
    extra_at_end: bool
    groups: int

    @classmethod
    def of(cls, node: onnx.NodeProto, kernel: tuple[int, ...]) -> ConvWindow:
        """The window of a Conv with a weight of the spatial sizes ``kernel``."""
        attributes = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
        return cls.from_attributes(attributes, kernel)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], kernel: tuple[int, ...]) -> ConvWindow:
        """The window that a node's attributes describe; what is missing or None has ONNX's default."""
        given = {name: value for name, value in attributes.items() if value is not None}
        one, none = (1,) * len(kernel), (0,) * (2 * len(kernel))
        auto = given.get("auto_pad", "NOTSET")
        same = auto.decode() if isinstance(auto, bytes) else auto
        return cls(
            kernel=kernel,
            strides=tuple(given.get("strides") or one),
            dilations=tuple(given.get("dilations") or one),
            pads=None if same.startswith("SAME") else tuple(given.get("pads") or none),
            extra_at_end=same != "SAME_LOWER",
            groups=given.get("group", 1),
        )

    def reaching_the_end(self, size: tuple[int, ...]) -> ConvWindow:
        """With more padding at the ends, so that a last window that begins inside is kept (ceil_mode)."""
        if self.pads is None:
            return self
        pairs = self.pads_for(size)
        ends = tuple(
            after + self._missing(length + before + after, after, stride, span)
            for length, (before, after), stride, span in zip(
                size, pairs, self.strides, self.span, strict=True
            )
        )
        return replace(self, pads=(*(before for before, _ in pairs), *ends))

    @property
    def axes(self) -> int:
        """How many spatial axes there are."""
        return len(self.kernel)

    @property
    def span(self) -> tuple[int, ...]:
        """What the kernel covers of each axis, with its gaps."""
        return tuple((size - 1) * skip + 1 for size, skip in zip(self.kernel, self.dilations, strict=True))

    @property
    def steps(self) -> tuple[slice, ...]:
        """Of all places that a kernel could be put at, those that it is."""
        return tuple(slice(None, None, stride) for stride in self.strides)

    @property
    def taps(self) -> tuple[slice, ...]:
        """Of all that the kernel covers, what it reads."""
        return tuple(slice(None, None, skip) for skip in self.dilations)

    def pads_for(self, size: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Before and after, of each axis, for an input of ``size``."""
        if self.pads is not None:
            return tuple(zip(self.pads[: self.axes], self.pads[self.axes :], strict=True))
        return tuple(
            self._same(length, stride, span)
            for length, stride, span in zip(size, self.strides, self.span, strict=True)
        )

    @staticmethod
    def _missing(whole: int, after: int, stride: int, span: int) -> int:
        """How much the last window reaches beyond ``whole``, unless it begins in the padding at the end."""
        windows = -(-(whole - span) // stride) + 1
        if (windows - 1) * stride >= whole - after:
            windows -= 1
        return max((windows - 1) * stride + span - whole, 0)

    def _same(self, length: int, stride: int, span: int) -> tuple[int, int]:
        total = max((-(-length // stride) - 1) * stride + span - length, 0)
        small, large = total // 2, total - total // 2
        return (small, large) if self.extra_at_end else (large, small)


def padded(images: NDArray[Scalar], window: ConvWindow, fill: float) -> NDArray[Scalar]:
    """(N, C, ...) with ``fill`` around it."""
    return np.pad(images, ((0, 0), (0, 0), *window.pads_for(images.shape[2:])), constant_values=fill)


def patches(images: NDArray[Scalar], window: ConvWindow) -> NDArray[Scalar]:
    """What the kernel sees at each place of padded images.

    Args:
        images: (N, C, ...), such as (N, C, H, W).
        window: its padding and groups do not matter.

    Returns:
        (N, places..., kernel size * C), such as (N, rows, columns, kernel height * kernel width * C), with
        the channels innermost.
    """
    last = np.ascontiguousarray(np.moveaxis(images, 1, -1))
    seen = sliding_window_view(last, window.span, axis=tuple(range(1, window.axes + 1)))
    seen = seen[(slice(None), *window.steps, slice(None), *window.taps)]
    seen = np.moveaxis(seen, window.axes + 1, -1)
    return np.ascontiguousarray(seen).reshape(*seen.shape[: window.axes + 1], -1)


def kernel_rows(weight: NDArray[Scalar]) -> NDArray[Scalar]:
    """A weight (channels out, channels in, kernel...) as (kernel size * channels in, channels out).

    Its rows are in the order of :func:`patches`.
    """
    return np.moveaxis(weight, (0, 1), (-1, -2)).reshape(-1, len(weight))


def depthwise(
    images: NDArray[np.float32], kernels: NDArray[np.float32], window: ConvWindow
) -> NDArray[np.float32]:
    """Each channel of padded images convolved with its own kernel.

    Args:
        images: (N, C, ...), such as (N, C, H, W).
        kernels: (C, kernel...), such as (C, kernel height, kernel width).
        window: its padding does not matter.

    Returns:
        (N, C, places...).
    """
    sizes = zip(images.shape[2:], window.span, window.strides, strict=True)
    places = tuple((length - span) // stride + 1 for length, span, stride in sizes)
    result = np.zeros((*images.shape[:2], *places), images.dtype)
    for tap in np.ndindex(window.kernel):
        seen = tuple(
            slice(at * skip, at * skip + (count - 1) * stride + 1, stride)
            for at, skip, count, stride in zip(tap, window.dilations, places, window.strides, strict=True)
        )
        factors = kernels[(slice(None), *tap)].reshape(-1, *[1] * window.axes)
        result += images[(slice(None), slice(None), *seen)] * factors
    return result

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

__all__ = ["ConvWindow", "depthwise", "padded", "patches"]

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvWindow:
    """How a convolution over height and width moves.

    Attributes:
        kernel: height and width.
        strides: down and to the right.
        dilations: likewise.
        pads: top, left, bottom, right; None for as many as keep ceil(size / stride), see ``extra_at_end``.
        extra_at_end: where the odd one of such pads goes.
        groups: parts of the channels that are convolved on their own.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int] | None
    extra_at_end: bool
    groups: int

    @classmethod
    def of(cls, node: onnx.NodeProto, kernel: tuple[int, ...]) -> ConvWindow:
        """The window of a Conv with a weight of height and width ``kernel``."""
        attributes = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
        return cls.from_attributes(attributes, kernel)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], kernel: tuple[int, ...]) -> ConvWindow:
        """The window that a node's attributes describe; what is missing or None has ONNX's default."""
        given = {name: value for name, value in attributes.items() if value is not None}
        height, width = kernel
        down, right = given.get("strides") or (1, 1)
        skip_down, skip_right = given.get("dilations") or (1, 1)
        top, left, bottom, end = given.get("pads") or (0, 0, 0, 0)
        auto = given.get("auto_pad", "NOTSET")
        same = auto.decode() if isinstance(auto, bytes) else auto
        return cls(
            kernel=(height, width),
            strides=(down, right),
            dilations=(skip_down, skip_right),
            pads=None if same.startswith("SAME") else (top, left, bottom, end),
            extra_at_end=same != "SAME_LOWER",
            groups=given.get("group", 1),
        )

    def reaching_the_end(self, size: tuple[int, int]) -> ConvWindow:
        """With more padding below and right, so that a last window that begins inside is kept (ceil_mode)."""
        if self.pads is None:
            return self
        top, left, bottom, right = self.pads
        more = (
            self._missing(length + before + after, before, stride, span)
            for length, before, after, stride, span in zip(
                size, (top, left), (bottom, right), self.strides, self.span, strict=True
            )
        )
        below, beside = more
        return replace(self, pads=(top, left, bottom + below, right + beside))

    @property
    def span(self) -> tuple[int, int]:
        """Height and width that the kernel covers, with its gaps."""
        (height, width), (down, right) = self.kernel, self.dilations
        return (height - 1) * down + 1, (width - 1) * right + 1

    def pads_for(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Before and after, of the height and of the width, for an input of ``size``."""
        if self.pads is not None:
            top, left, bottom, right = self.pads
            return (top, bottom), (left, right)
        rows, columns = (
            self._same(length, stride, span)
            for length, stride, span in zip(size, self.strides, self.span, strict=True)
        )
        return rows, columns

    @staticmethod
    def _missing(whole: int, before: int, stride: int, span: int) -> int:
        """How much the last window reaches beyond ``whole``, unless it begins in the padding at the end."""
        windows = -(-(whole - span) // stride) + 1
        if (windows - 1) * stride >= whole - before:
            windows -= 1
        return max((windows - 1) * stride + span - whole, 0)

    def _same(self, length: int, stride: int, span: int) -> tuple[int, int]:
        total = max((-(-length // stride) - 1) * stride + span - length, 0)
        small, large = total // 2, total - total // 2
        return (small, large) if self.extra_at_end else (large, small)


def padded(images: NDArray[Scalar], window: ConvWindow, fill: float) -> NDArray[Scalar]:
    """(N, C, H, W) with ``fill`` around it."""
    rows, columns = window.pads_for((images.shape[2], images.shape[3]))
    return np.pad(images, ((0, 0), (0, 0), rows, columns), constant_values=fill)


def patches(images: NDArray[Scalar], window: ConvWindow) -> NDArray[Scalar]:
    """What the kernel sees at each place of padded images.

    Args:
        images: (N, C, H, W).
        window: its padding and groups do not matter.

    Returns:
        (N, rows, columns, kernel height * kernel width * C), with the channels innermost.
    """
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    seen = sliding_window_view(last, window.span, axis=(1, 2))
    (down, right), (skip_down, skip_right) = window.strides, window.dilations
    seen = seen[:, ::down, ::right, :, ::skip_down, ::skip_right].transpose(0, 1, 2, 4, 5, 3)
    return np.ascontiguousarray(seen).reshape(*seen.shape[:3], -1)


def depthwise(
    images: NDArray[np.float32], kernels: NDArray[np.float32], window: ConvWindow
) -> NDArray[np.float32]:
    """Each channel of padded images convolved with its own kernel.

    Args:
        images: (N, C, H, W).
        kernels: (C, kernel height, kernel width).
        window: its padding does not matter.

    Returns:
        (N, C, rows, columns).
    """
    (height, width), (down, right) = window.span, window.strides
    rows = (images.shape[2] - height) // down + 1
    columns = (images.shape[3] - width) // right + 1
    result = np.zeros((*images.shape[:2], rows, columns), images.dtype)
    for (row, column), _ in np.ndenumerate(kernels[0]):
        top, left = row * window.dilations[0], column * window.dilations[1]
        seen = images[:, :, top : top + (rows - 1) * down + 1 : down, left:][..., : (columns - 1) * right + 1]
        result += seen[..., ::right] * kernels[:, row, column][:, None, None]
    return result

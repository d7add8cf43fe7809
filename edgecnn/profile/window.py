"""What one output of a convolution or pooling reads."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

__all__ = ["Pair", "Window", "adaptive_window"]

#: (height, width)
Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """The window that slides over a map, each attribute (height, width) in elements of that map.

    Attributes:
        kernel: its size.
        stride: the step from one output to the next.
        padding: added on each side of the map.
        dilation: the distance between two elements that the window reads.
        groups: into how many parts the channels are cut; as many as channels is a depthwise convolution.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


def adaptive_window(source: Pair, target: Pair) -> Window:
    """The largest window, and the usual stride, of an adaptive pooling from ``source`` to ``target``.

    Output i of n reads from floor(i s / n) to ceil((i + 1) s / n) of s inputs (PyTorch's rule).
    """
    pairs = tuple(zip(source, target, strict=True))
    height, width = (max(ceil((i + 1) * s / n) - i * s // n for i in range(n)) for s, n in pairs)
    down, right = (max(1, s // n) for s, n in pairs)
    return Window((height, width), (down, right))

"""The receptive field: how much of the input image one element of a map sees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgecnn.profile.window import Pair, Window

__all__ = ["ReceptiveField", "join"]


@dataclass(frozen=True)
class ReceptiveField:
    """Of one element of a map, (height, width) in pixels of the input image.

    The recurrence and its starting values are of Araujo, Norris and Sim, "Computing Receptive Fields of
    Convolutional Neural Networks", Distill 2019. The field may be larger than the image: it then
    reaches into the padding.

    Attributes:
        size: how many pixels it spans.
        jump: by how many pixels the fields of two neighbouring elements are apart.
    """

    size: Pair = (1, 1)
    jump: Pair = (1, 1)

    def through(self, window: Window) -> ReceptiveField:
        """The field after ``window``: size += (kernel - 1) * dilation * jump, then jump *= stride."""
        height, width = (
            size + (kernel - 1) * dilation * jump
            for size, kernel, dilation, jump in zip(
                self.size, window.kernel, window.dilation, self.jump, strict=True
            )
        )
        down, right = (jump * stride for jump, stride in zip(self.jump, window.stride, strict=True))
        return ReceptiveField((height, width), (down, right))


def join(fields: Iterable[ReceptiveField | None]) -> ReceptiveField | None:
    """The field of what is computed from several maps: the largest, which is that of the longest path.

    None is the whole image. It counts only where no map is local: a squeeze-and-excitation gate tells
    every element of the whole image, yet says nothing of what the convolutions see.
    """
    local = [field for field in fields if field is not None]
    if not local:
        return None
    return ReceptiveField(
        (max(field.size[0] for field in local), max(field.size[1] for field in local)),
        (max(field.jump[0] for field in local), max(field.jump[1] for field in local)),
    )

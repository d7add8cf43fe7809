"""Where pixels go: the size after the resize, and the box of the centre crop."""

from __future__ import annotations

from edgecnn.spec import Preprocess

__all__ = ["Box", "crop_box", "resized_size"]

#: (left, top, right, bottom) in pixels, right and bottom excluded; Pillow's order.
Box = tuple[int, int, int, int]


def resized_size(height: int, width: int, preprocess: Preprocess) -> tuple[int, int]:
    """(height, width) of an image of that size after the resize.

    As torchvision's ``Resize``: the short side gets the asked length, the long side is scaled in double
    precision and truncated.
    """
    target = preprocess.resize
    if target is None:
        return height, width
    if isinstance(target, tuple):
        return target
    if width <= height:
        return int(target * height / width), target
    return target, int(target * width / height)


def crop_box(height: int, width: int, crop: tuple[int, int]) -> Box:
    """The centre crop of an image; it reaches outside where the crop is larger than the image.

    As torchvision's ``CenterCrop``: inside, the offset is rounded half to even; outside, the smaller half of
    the padding comes first.
    """
    top, left = _offset(height, crop[0]), _offset(width, crop[1])
    return left, top, left + crop[1], top + crop[0]


def _offset(length: int, wanted: int) -> int:
    return -((wanted - length) // 2) if wanted > length else round((length - wanted) / 2)

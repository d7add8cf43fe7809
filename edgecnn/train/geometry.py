"""What size images get: the preprocessing of the trained network, and the canvas of augmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgecnn.cards import ModelCard
from edgecnn.data import LabelledImages
from edgecnn.spec import Preprocess

__all__ = ["SMALL_SIDE", "Glimpse", "augmentation_canvas", "glimpse", "training_preprocess"]

#: Images with no side longer than this are small: digits, CIFAR, but no photograph.
SMALL_SIDE = 64

_GLIMPSED = 8


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What a few images of a source are like.

    Attributes:
        longest_side: in pixels.
        grey: whether none of them has a colour.
    """

    longest_side: int
    grey: bool

    @property
    def small(self) -> bool:
        """Whether the images are far smaller than photographs."""
        return self.longest_side <= SMALL_SIDE


def glimpse(source: LabelledImages) -> Glimpse:
    """Look at up to eight images, evenly spaced.

    Raises:
        ImageError: one of them cannot be used.
    """
    indices = np.unique(np.linspace(0, len(source) - 1, _GLIMPSED).astype(int))
    images = [np.asarray(source.image(int(index))) for index in indices]
    return Glimpse(
        longest_side=max(max(image.shape[:2]) for image in images),
        grey=all(bool((image == image[..., :1]).all()) for image in images),
    )


def training_preprocess(
    base: Preprocess, card: ModelCard, seen: Glimpse, size: tuple[int, int] | None
) -> Preprocess:
    """The preprocessing that the trained network will always have.

    Colours, mean, std and interpolation are those of ``base``. The size, where the user names none:

    - photographs: that of ``base``;
    - small images: a square with the image's longest side, but no less than the network can take and no more
      than ``base``.

    Photographs are resized by their short side and cut, with the margin that ``base`` has, in proportion.
    Small images are resized whole: of 32 pixels none can be spared.

    Args:
        base: of the weights that training starts from.
        card: says how small the input may be.
        seen: what the training images are like.
        size: (height, width) that the user asks for.
    """
    if size is None:
        size = _small_size(base, card, seen) if seen.small else base.crop
    if seen.small or not isinstance(base.resize, int):
        return replace(base, resize=size, crop=size, in_graph=False)
    resize = round(base.resize * min(size) / min(base.crop))
    return replace(base, resize=resize, crop=size, in_graph=False)


def augmentation_canvas(preprocess: Preprocess) -> Preprocess:
    """``preprocess`` with the margin that its crop cuts off: what random crops are taken from."""
    if not isinstance(preprocess.resize, int):
        return preprocess
    margin = max(1.0, preprocess.resize / min(preprocess.crop))
    height, width = (round(side * margin) for side in preprocess.crop)
    return replace(preprocess, crop=(height, width))


def _small_size(base: Preprocess, card: ModelCard, seen: Glimpse) -> tuple[int, int]:
    height, width = (
        min(largest, max(seen.longest_side, smallest))
        for largest, smallest in zip(base.crop, card.smallest, strict=True)
    )
    return height, width

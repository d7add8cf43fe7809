"""Random changes of training images, by torchvision's transforms, driven by torch's global generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from edgecnn.spec import Preprocess
from edgecnn.train.settings import Augment

__all__ = ["Mix", "PixelAugment", "mixing", "pixel_augment"]

#: (B, H, W, C) uint8 to (B, crop height, crop width, C) uint8.
PixelAugment = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
#: Images (B, C, H, W) and labels (B,) to mixed images and a share per class, (B, classes).
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

#: An eighth of the side is the 4 pixels of 32 that He et al. (2015, section 4.2) pad CIFAR's images by.
_PADDING = 8
#: Less of an image than this is often not its object any more; ImageNet's 8 % suits long training only.
_SMALLEST_SHARE = 0.35
#: Zhang et al., mixup (2018), section 3.1: 0.1 to 0.4 suit ImageNet. Yun et al., CutMix (2019): uniform.
_MIXUP_ALPHA, _CUTMIX_ALPHA = 0.2, 1.0


def pixel_augment(augment: Augment, preprocess: Preprocess, *, flip: bool) -> PixelAugment:
    """What happens to each image by itself.

    Images that are cut out of a larger canvas get a random part of it, of random size and shape; images that
    are resized whole are shifted by up to an eighth, black moving in.

    Args:
        augment: "none" returns the images as they are.
        preprocess: of the network.
        flip: whether half of the images are mirrored.
    """
    if augment == "none":
        return lambda pixels: pixels
    steps: list[Callable[[Tensor], Tensor]] = [_random_crop(preprocess)]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    return _each(v2.Compose(steps))


def mixing(augment: Augment, classes: int) -> Mix | None:
    """What happens to a batch as a whole, if anything."""
    if augment == "mixup":
        return v2.MixUp(alpha=_MIXUP_ALPHA, num_classes=classes)  # type: ignore[no-any-return]
    if augment == "cutmix":
        return v2.CutMix(alpha=_CUTMIX_ALPHA, num_classes=classes)  # type: ignore[no-any-return]
    return None


def _random_crop(preprocess: Preprocess) -> Callable[[Tensor], Tensor]:
    if isinstance(preprocess.resize, int):
        return v2.RandomResizedCrop(preprocess.crop, scale=(_SMALLEST_SHARE, 1.0))  # type: ignore[no-any-return]
    height, width = preprocess.crop
    return v2.RandomCrop((height, width), padding=(width // _PADDING, height // _PADDING))  # type: ignore[no-any-return]


def _each(transform: Callable[[Tensor], Tensor]) -> PixelAugment:
    def apply(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        changed = torch.stack([transform(image) for image in planes])
        return changed.permute(0, 2, 3, 1).numpy()

    return apply

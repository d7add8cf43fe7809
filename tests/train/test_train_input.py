"""The input of training: sizes, pixels, augmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from edgecnn.cards import find_card
from edgecnn.data.arrays import ArrayImages
from edgecnn.errors import ImageError
from edgecnn.preprocess import crop, normalise
from edgecnn.spec import Preprocess
from edgecnn.train.augment import mixing, pixel_augment
from edgecnn.train.geometry import Glimpse, augmentation_canvas, glimpse, training_preprocess
from edgecnn.train.pixels import in_order, input_tensor, open_pixels

Bars = Callable[..., ArrayImages]

PHOTOS = Glimpse(longest_side=500, grey=False)
DIGITS = Glimpse(longest_side=8, grey=True)


def _size(name: str, seen: Glimpse, size: tuple[int, int] | None = None) -> tuple[object, object]:
    card = find_card(name)
    made = training_preprocess(card.preprocess, card, seen, size)
    return made.resize, made.crop


@pytest.mark.parametrize(
    ("name", "seen", "size", "expected"),
    [
        ("mobilenet_v2", PHOTOS, None, (256, (224, 224))),
        ("mobilenet_v2", PHOTOS, (112, 112), (128, (112, 112))),
        ("mobilenet_v2", PHOTOS, (112, 224), (128, (112, 224))),
        ("mobilenet_v2", DIGITS, None, ((32, 32), (32, 32))),
        ("mobilenet_v2", DIGITS, (48, 64), ((48, 64), (48, 64))),
        ("mobilenet_v2", Glimpse(longest_side=64, grey=False), None, ((64, 64), (64, 64))),
        ("inception_v3", DIGITS, None, ((75, 75), (75, 75))),
        ("lenet5", Glimpse(longest_side=64, grey=True), None, ((32, 32), (32, 32))),
        ("lenet5", PHOTOS, None, ((32, 32), (32, 32))),
    ],
)
def test_the_images_and_the_network_decide_the_size(
    name: str, seen: Glimpse, size: tuple[int, int] | None, expected: tuple[object, object]
) -> None:
    assert _size(name, seen, size) == expected


def test_everything_but_the_size_is_the_networks() -> None:
    card = find_card("lenet5")
    made = training_preprocess(card.preprocess, card, DIGITS, None)
    assert made == card.preprocess


def test_a_glimpse_tells_grey_from_colour(bars: Bars) -> None:
    coloured = bars(4)
    grey = ArrayImages("grey", None, ("a", "b"), np.array([0, 1]), np.zeros((2, 8, 6), np.uint8))
    assert glimpse(coloured) == Glimpse(longest_side=32, grey=False)
    assert glimpse(grey) == Glimpse(longest_side=8, grey=True)


def test_the_canvas_keeps_what_the_centre_crop_cuts_off() -> None:
    photos = Preprocess(resize=256, crop=(224, 224))
    assert augmentation_canvas(photos).crop == (256, 256)
    assert augmentation_canvas(replace(photos, resize=None)).crop == (224, 224)
    assert augmentation_canvas(replace(photos, resize=(224, 224))).crop == (224, 224)


@pytest.mark.parametrize("keep", [True, False])
def test_pixels_are_the_projects_own_crop(keep: bool, bars: Bars) -> None:
    source = bars(5, side=20)
    preprocess = Preprocess(resize=40, crop=(32, 32))
    pixels = open_pixels(source, preprocess, keep=keep)
    order = [np.array([3, 1]), np.array([14])]
    batches = list(pixels.batches(order))
    assert len(pixels) == 15
    assert [batch.shape for batch in batches] == [(2, 32, 32, 3), (1, 32, 32, 3)]
    for indices, batch in zip(order, batches, strict=True):
        for index, image in zip(indices, batch, strict=True):
            np.testing.assert_array_equal(image, crop(source.image(int(index)), preprocess))


def test_in_order_covers_each_image_once() -> None:
    assert [batch.tolist() for batch in in_order(5, 2)] == [[0, 1], [2, 3], [4]]


def test_the_input_is_normalised_and_in_channels_last_memory() -> None:
    preprocess = Preprocess(resize=None, crop=(6, 5))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    tensor = input_tensor(pixels, preprocess)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(tensor.numpy(), normalise(pixels, preprocess))


def test_a_broken_image_is_named(bars: Bars) -> None:
    class Broken(ArrayImages):
        def image(self, index: int) -> Image.Image:
            raise ImageError(self.key(index), "it is damaged")

    source = bars(1)
    broken = Broken("bad", None, source.classes, source.labels, source.pixels)
    with pytest.raises(ImageError, match=r"bad\[0\]: it is damaged"):
        open_pixels(broken, Preprocess(resize=None, crop=(32, 32)), keep=True)


def _ramp(height: int, width: int) -> np.ndarray:
    """Two equal images in which no two columns and no two rows are alike."""
    image = np.add.outer(np.arange(height) * 7, np.arange(width) + 1) % 256
    return np.repeat(np.repeat(image[None, ..., None], 2, axis=0), 3, axis=3).astype(np.uint8)


def test_no_augmentation_changes_nothing() -> None:
    pixels = _ramp(32, 32)
    assert pixel_augment("none", Preprocess(resize=(32, 32), crop=(32, 32)), flip=True)(pixels) is pixels


def test_small_images_are_shifted_each_by_itself() -> None:
    torch.manual_seed(1)
    augment = pixel_augment("basic", Preprocess(resize=(32, 32), crop=(32, 32)), flip=False)
    pixels = _ramp(32, 32)
    first, second = augment(pixels)
    assert first.shape == (32, 32, 3)
    assert not np.array_equal(first, second)
    padded = np.pad(pixels[0], ((4, 4), (4, 4), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (32, 32, 3)).reshape(-1, 32, 32, 3)
    assert all((views == image).all(axis=(1, 2, 3)).any() for image in (first, second))


def test_flips_mirror_half_of_the_images() -> None:
    torch.manual_seed(0)
    preprocess = Preprocess(resize=(4, 4), crop=(4, 4))
    pixels = np.repeat(_ramp(4, 4)[:1], 64, axis=0)
    changed = pixel_augment("basic", preprocess, flip=True)(pixels)
    mirrored = sum(np.array_equal(image, pixels[0][:, ::-1]) for image in changed)
    assert 20 < mirrored < 44
    assert all(image.tolist() in (pixels[0].tolist(), pixels[0][:, ::-1].tolist()) for image in changed)


def test_photographs_are_cut_to_the_networks_size() -> None:
    preprocess = Preprocess(resize=64, crop=(48, 40))
    canvas = augmentation_canvas(preprocess)
    changed = pixel_augment("cutmix", preprocess, flip=True)(_ramp(*canvas.crop))
    assert changed.shape == (2, 48, 40, 3)
    assert changed.dtype == np.uint8


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_shares_the_labels(name: str) -> None:
    torch.manual_seed(0)
    mix = mixing(name, 3)  # type: ignore[arg-type]
    assert mix is not None
    images, targets = mix(torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 0]))
    assert images.shape == (4, 3, 16, 16)
    assert targets.shape == (4, 3)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))


def test_basic_does_not_mix() -> None:
    assert mixing("basic", 3) is None

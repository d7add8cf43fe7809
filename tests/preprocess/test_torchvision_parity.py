"""Preprocessing equals torchvision's own transforms, bit for bit."""

from __future__ import annotations

import random
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgecnn.preprocess import crop, decode, normalise
from edgecnn.spec import Interpolation, Preprocess

transforms = pytest.importorskip("torchvision.transforms")
models = pytest.importorskip("torchvision.models")

NAMES: list[Interpolation] = ["nearest", "bilinear", "bicubic", "lanczos"]
REAL_IMAGES = 200


def noise(width: int, height: int, seed: int) -> Image.Image:
    """RGB noise with runs of black and white, which show rounding and clipping best."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pixels[::7] = 255
    pixels[:, ::5] = 0
    return Image.fromarray(pixels)


def reference_pixels(image: Image.Image, wanted: Preprocess) -> NDArray[np.uint8]:
    """torchvision's Grayscale, Resize and CenterCrop: (H, W, C) uint8."""
    if wanted.color == "L":
        image = transforms.Grayscale(1)(image)
    if wanted.resize is not None:
        mode = transforms.InterpolationMode(wanted.interpolation)
        image = transforms.Resize(wanted.resize, interpolation=mode)(image)
    pixels = np.asarray(transforms.CenterCrop(wanted.crop)(image))
    if wanted.color == "L":
        return pixels[..., np.newaxis]
    return pixels[..., ::-1] if wanted.color == "BGR" else pixels


def reference_input(pixels: NDArray[np.uint8], wanted: Preprocess) -> NDArray[np.float32]:
    """torchvision's ToTensor and Normalize: (C, H, W) float32."""
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize(wanted.mean, wanted.std)])
    result: NDArray[np.float32] = steps(np.array(pixels, order="C")).numpy()
    return result


def assert_equal_to_torchvision(image: Image.Image, wanted: Preprocess) -> None:
    pixels = crop(image, wanted)
    expected = reference_pixels(image, wanted)
    np.testing.assert_array_equal(pixels, expected)
    values, expected_values = normalise(pixels, wanted), reference_input(expected, wanted)
    assert values.dtype == np.float32
    assert values.tobytes() == expected_values.tobytes()


sides = st.integers(1, 90)
channel_values = st.floats(-2, 2, width=32).filter(lambda value: abs(value) > 1e-3)


@st.composite
def preprocesses(draw: st.DrawFn) -> Preprocess:
    color: Any = draw(st.sampled_from(["RGB", "BGR", "L"]))
    channels = 1 if color == "L" else 3
    triples = st.tuples(*[channel_values] * channels)
    return Preprocess(
        resize=draw(st.none() | sides | st.tuples(sides, sides)),
        crop=draw(st.tuples(sides, sides)),
        interpolation=draw(st.sampled_from(NAMES)),
        color=color,
        mean=draw(triples),
        std=draw(triples),
    )


@settings(max_examples=150)
@given(width=sides, height=sides, seed=st.integers(0, 5), wanted=preprocesses())
@example(width=65, height=50, seed=0, wanted=Preprocess(resize=24, crop=(40, 41), interpolation="bicubic"))
@example(width=65, height=50, seed=0, wanted=Preprocess(resize=33, crop=(18, 80)))
@example(width=3, height=89, seed=0, wanted=Preprocess(resize=7, crop=(5, 5), interpolation="lanczos"))
def test_any_size_any_filter(width: int, height: int, seed: int, wanted: Preprocess) -> None:
    assert_equal_to_torchvision(noise(width, height, seed), wanted)


@pytest.mark.parametrize("interpolation", NAMES)
@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (333, 499), (227, 227), (1025, 301)])
def test_sizes_of_photographs(width: int, height: int, interpolation: Interpolation) -> None:
    wanted = Preprocess(resize=256, crop=(224, 224), interpolation=interpolation)
    assert_equal_to_torchvision(noise(width, height, 1), wanted)


def odd_jpeg(path: Path, rng: random.Random) -> bytes:
    """A real image cropped and scaled to an odd size, as a new JPEG file."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    left, top = rng.randrange(rgb.width // 3), rng.randrange(rgb.height // 3)
    rgb = rgb.crop((left, top, rgb.width - rng.randrange(40), rgb.height - rng.randrange(40)))
    size = (rng.randrange(61, 700, 2), rng.randrange(61, 700, 2))
    file = BytesIO()
    rgb.resize(size, Image.Resampling.LANCZOS).save(
        file,
        "JPEG",
        quality=rng.randrange(60, 100),
        progressive=rng.random() < 0.3,
        subsampling=rng.randrange(3),
    )
    return file.getvalue()


def torchvision_input(data: bytes, weights: Any) -> NDArray[np.float32]:
    """What torchvision's loader and the weights' own transforms make of a file."""
    with Image.open(BytesIO(data)) as image:
        rgb = image.convert("RGB")
    result: NDArray[np.float32] = weights.transforms()(rgb).numpy()
    return result


def real_images(folder: Path) -> list[Path]:
    files = sorted((folder / "imagenet").rglob("*.JPEG"))
    return list(islice(files[:: len(files) // REAL_IMAGES], REAL_IMAGES))


@pytest.mark.realdata
@pytest.mark.parametrize("odd", [True, False], ids=["odd sizes", "as they are"])
@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        (models.MobileNet_V2_Weights.IMAGENET1K_V1, Preprocess(resize=256, crop=(224, 224))),
        (
            models.EfficientNet_B0_Weights.IMAGENET1K_V1,
            Preprocess(resize=256, crop=(224, 224), interpolation="bicubic"),
        ),
    ],
    ids=["mobilenet_v2", "efficientnet_b0"],
)
def test_200_real_jpegs(real_data: Path, weights: Any, wanted: Preprocess, odd: bool) -> None:
    rng = random.Random(7)
    paths = real_images(real_data)
    assert len(paths) == REAL_IMAGES
    for path in paths:
        data = odd_jpeg(path, rng) if odd else path.read_bytes()
        ours = normalise(crop(decode(data, name=str(path)), wanted), wanted)
        assert ours.tobytes() == torchvision_input(data, weights).tobytes(), path

"""Cropping and preparing one image; equality with torchvision is in test_torchvision_parity.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgecnn.errors import ImageError, UsageError
from edgecnn.preprocess import crop, normalise, prepare, resized_size
from edgecnn.preprocess.geometry import crop_box
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

SMALL = Preprocess(resize=8, crop=(6, 6))


def spec_of(preprocess: Preprocess, dtype: str) -> ModelSpec:
    return ModelSpec(
        network="small",
        classes=("a", "b"),
        input=TensorSpec(name="input", dtype=dtype, shape=("batch", 3, 6, 6)),
        output=TensorSpec(name="output", dtype="float32", shape=("batch", 2)),
        preprocess=preprocess,
        weights=WeightsId(kind="unknown", name=""),
    )


def gradient(width: int, height: int) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([rows * 7, columns * 5, rows + columns], axis=-1).astype(np.uint8))


@given(height=st.integers(1, 5000), width=st.integers(1, 5000), side=st.integers(1, 600))
def test_the_short_side_gets_the_asked_length_and_the_shape_is_kept(
    height: int, width: int, side: int
) -> None:
    result = resized_size(height, width, Preprocess(resize=side, crop=(1, 1)))
    assert min(result) == side
    assert abs(result[0] * width - result[1] * height) <= max(height, width)


@given(height=st.integers(1, 500), width=st.integers(1, 500), crop=st.tuples(*[st.integers(1, 500)] * 2))
def test_the_crop_has_its_size_and_lies_in_the_middle(height: int, width: int, crop: tuple[int, int]) -> None:
    left, top, right, bottom = crop_box(height, width, crop)
    assert (bottom - top, right - left) == crop
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1


def test_a_crop_larger_than_the_image_is_padded_with_black() -> None:
    white = Image.new("RGB", (3, 2), "white")
    pixels = crop(white, Preprocess(resize=None, crop=(4, 4)))
    expected = np.zeros((4, 4, 3), np.uint8)
    expected[1:3, 0:3] = 255
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("color", ["RGB", "BGR", "L"])
def test_pixels_are_contiguous_and_writable_so_that_every_library_takes_them(color: Any) -> None:
    wanted = Preprocess(
        resize=8,
        crop=(6, 6),
        color=color,
        mean=(0.5,) * (1 + 2 * (color != "L")),
        std=(1.0,) * (1 + 2 * (color != "L")),
    )
    pixels = crop(gradient(20, 10), wanted)
    assert pixels.shape == (6, 6, wanted.channels)
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


def test_bgr_is_rgb_with_its_channels_reversed() -> None:
    image = gradient(20, 10)
    bgr = crop(image, Preprocess(resize=8, crop=(6, 6), color="BGR"))
    np.testing.assert_array_equal(bgr[..., ::-1], crop(image, SMALL))


def test_a_grey_image_becomes_three_equal_channels() -> None:
    pixels = crop(gradient(20, 10).convert("L"), SMALL)
    assert pixels.shape == (6, 6, 3)
    assert np.ptp(pixels, axis=-1).max() == 0


def test_a_model_that_normalises_itself_gets_pixels() -> None:
    wanted = Preprocess(resize=8, crop=(6, 6), in_graph=True)
    image = gradient(20, 10)
    result = prepare(image, spec_of(wanted, "uint8"))
    np.testing.assert_array_equal(result, crop(image, SMALL))
    assert result.dtype == np.uint8


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_other_models_get_the_normalised_tensor_in_their_dtype(dtype: str) -> None:
    image = gradient(20, 10)
    result = prepare(image, spec_of(SMALL, dtype))
    expected = normalise(crop(image, SMALL), SMALL).astype(dtype)
    assert result.dtype.name == dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("dtype", "in_graph", "shape"),
    [("float32", False, (3, 6, 6)), ("float16", False, (3, 6, 6)), ("uint8", True, (6, 6, 3))],
)
def test_prepare_fills_a_row_of_a_batch(dtype: str, in_graph: bool, shape: tuple[int, ...]) -> None:
    spec = spec_of(Preprocess(resize=8, crop=(6, 6), in_graph=in_graph), dtype)
    batch = np.zeros((3, *shape), dtype)
    row = prepare(gradient(20, 10), spec, out=batch[1])
    assert np.shares_memory(row, batch)
    np.testing.assert_array_equal(batch[1], prepare(gradient(20, 10), spec))
    assert not batch[0].any()
    assert not batch[2].any()


def test_without_division_and_with_means_in_pixels() -> None:
    caffe = Preprocess(
        resize=None, crop=(1, 1), color="BGR", divisor=1.0, mean=(104, 117, 123), std=(1.0, 1.0, 1.0)
    )
    image = Image.new("RGB", (1, 1), (200, 100, 50))
    values = normalise(crop(image, caffe), caffe).ravel()
    assert values.tolist() == [50 - 104, 100 - 117, 200 - 123]


@given(batch=st.integers(1, 4), height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_batch_is_normalised_as_its_images_are(batch: int, height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), np.uint8)
    out = np.empty((batch, 3, height, width), np.float32)
    assert normalise(pixels, SMALL, out=out) is out
    np.testing.assert_array_equal(out, np.stack([normalise(image, SMALL) for image in pixels]))


def test_a_thread_of_pixels_is_refused_instead_of_filling_the_memory() -> None:
    with pytest.raises(ImageError, match=r"ribbon.png: .*so long and thin") as failure:
        crop(Image.new("RGB", (60_000, 1)), Preprocess(resize=256, crop=(224, 224)), name="ribbon.png")
    assert failure.value.image == "ribbon.png"


def test_bilinear_without_antialiasing_looks_at_four_pixels() -> None:
    torch = pytest.importorskip("torch")
    pixels = np.random.default_rng(0).integers(0, 256, (29, 37, 3), np.uint8)
    wanted = Preprocess(resize=(11, 13), crop=(11, 13), antialias=False)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(planes, (11, 13), mode="bilinear", antialias=False)
    # Pillow truncates to a whole grey level, and computes in another order.
    difference = crop(Image.fromarray(pixels), wanted) - expected[0].permute(1, 2, 0).numpy()
    assert np.abs(difference).max() < 1.01


def test_nearest_needs_no_antialiasing() -> None:
    image = gradient(37, 29)
    sharp = Preprocess(resize=8, crop=(6, 6), interpolation="nearest", antialias=False)
    plain = Preprocess(resize=8, crop=(6, 6), interpolation="nearest")
    np.testing.assert_array_equal(crop(image, sharp), crop(image, plain))


def test_other_filters_without_antialiasing_are_refused() -> None:
    with pytest.raises(UsageError, match="bicubic without antialiasing"):
        crop(gradient(20, 10), Preprocess(resize=8, crop=(6, 6), interpolation="bicubic", antialias=False))

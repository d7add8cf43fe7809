"""Decoding: every ordinary file becomes upright RGB, and every hostile one a named ImageError."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgecnn.errors import ImageError
from edgecnn.preprocess import decode

ORIENTATION = 0x0112


def smooth(width: int = 48, height: int = 32) -> Image.Image:
    """A colour gradient, which survives lossy compression."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * columns / (width - 1), 255 * rows / (height - 1)
    return Image.fromarray(np.stack([red, green, 255 - red], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def pixels_of(image: Image.Image) -> NDArray[np.int16]:
    return np.asarray(image).astype(np.int16)


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def png(width: int, height: int, *, depth: int = 8, kind: int = 2, body: bytes = b"") -> bytes:
    """A PNG with that header (PNG specification, section 11) and these bytes as its compressed pixels."""

    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_with_exif(exif: bytes) -> bytes:
    """A JPEG with these bytes in its APP1 segment, which Pillow would not write if they are damaged."""
    data = encoded(smooth(), "JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


LOSSLESS = {
    "png": encoded(smooth(), "PNG"),
    "png, alpha": encoded(smooth().convert("RGBA"), "PNG"),
    "bmp": encoded(smooth(), "BMP"),
    "ppm": encoded(smooth(), "PPM"),
    "webp": encoded(smooth(), "WEBP", lossless=True),
    "tiff": encoded(smooth(), "TIFF"),
    "tiff, lzw": encoded(smooth(), "TIFF", compression="tiff_lzw"),
    "tiff, big": encoded(smooth(), "TIFF", big_tiff=True),
}
LOSSY = {
    "jpeg": encoded(smooth(), "JPEG", quality=95),
    "jpeg, progressive": encoded(smooth(), "JPEG", quality=95, progressive=True),
    "webp, lossy": encoded(smooth(), "WEBP", quality=95),
}
PALETTE = smooth().convert("P", palette=Image.Palette.ADAPTIVE)
# Pillow writes CMYK JPEG files as Adobe does: inverted, and with Adobe's marker.
OTHERS = {
    "gif": encoded(PALETTE, "GIF"),
    "png, palette with transparency": encoded(PALETTE, "PNG", transparency=bytes(range(0, 250, 5))),
    "png, 1 bit": encoded(smooth().convert("1"), "PNG"),
    "png, grey and alpha": encoded(smooth().convert("LA"), "PNG"),
    "jpeg, grey": encoded(smooth().convert("L"), "JPEG"),
    "jpeg, CMYK": encoded(smooth().convert("CMYK"), "JPEG", quality=95),
    "tiff, CMYK": encoded(smooth().convert("CMYK"), "TIFF"),
    "pgm, 16 bit": encoded(smooth().convert("I"), "PPM"),
}
GOOD = LOSSLESS | LOSSY | OTHERS


@pytest.mark.parametrize("data", LOSSLESS.values(), ids=LOSSLESS)
def test_lossless_files_give_their_pixels(data: bytes) -> None:
    np.testing.assert_array_equal(pixels_of(decode(data)), pixels_of(smooth()))


@pytest.mark.parametrize("data", LOSSY.values(), ids=LOSSY)
def test_lossy_files_give_nearly_their_pixels(data: bytes) -> None:
    assert np.abs(pixels_of(decode(data)) - pixels_of(smooth())).mean() < 8


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
def test_every_mode_becomes_rgb_of_the_same_size(data: bytes) -> None:
    image = decode(data)
    assert image.mode == "RGB"
    assert image.size == (48, 32)


def test_grey_is_repeated() -> None:
    grey = smooth().convert("L")
    expected = np.repeat(np.asarray(grey)[..., np.newaxis], 3, axis=-1)
    np.testing.assert_array_equal(np.asarray(decode(encoded(grey, "PNG"))), expected)


def test_cmyk_as_adobe_writes_it_is_not_inverted() -> None:
    decoded = pixels_of(decode(OTHERS["jpeg, CMYK"]))
    assert np.abs(decoded - pixels_of(smooth())).mean() < 8


def test_alpha_is_dropped_as_by_torchvision() -> None:
    image = smooth().convert("RGBA")
    image.putalpha(0)
    np.testing.assert_array_equal(pixels_of(decode(encoded(image, "PNG"))), pixels_of(smooth()))


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_and_not_clipped(format_name: str) -> None:
    wide = np.array([[0, 128, 129, 255, 257, 32768, 65278, 65535]], np.uint16)
    image = Image.fromarray(wide)
    data = encoded(image.convert("I") if format_name == "PPM" else image, format_name)
    assert np.asarray(decode(data))[0, :, 0].tolist() == [round(value / 257) for value in wide[0].tolist()]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_turned_as_their_exif_says(format_name: str, orientation: int) -> None:
    options = {"quality": 100} if format_name in {"JPEG", "WEBP"} else {}
    data = encoded(smooth(), format_name, exif=oriented(orientation), **options)
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    expected = smooth().transpose(turn[orientation]) if orientation > 1 else smooth()
    result = decode(data)
    assert result.size == expected.size
    assert np.abs(pixels_of(result) - pixels_of(expected)).mean() < 8


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\x00\x00",
        b"Exif\x00\x00XX*\x00\x08\x00\x00\x00",
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x04\x00\x01\x00\x00\x00\x06\x00\x00\x00",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x63\x00\x00\x00",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00",
    ],
)
def test_damaged_exif_leaves_the_image_as_it_is(exif: bytes) -> None:
    assert decode(jpeg_with_exif(exif)).size == (48, 32)


@given(exif=st.binary(max_size=60))
def test_any_bytes_as_exif_are_harmless(exif: bytes) -> None:
    decode(jpeg_with_exif(b"Exif\x00\x00II*\x00" + exif))


def test_a_photograph_with_an_embedded_preview_is_one_image() -> None:
    data = encoded(smooth(), "MPO", save_all=True, append_images=[smooth(12, 8)])
    assert decode(data).size == (48, 32)


def fails(data: bytes | Path, **options: Any) -> ImageError:
    with pytest.raises(ImageError) as failure:
        decode(data, **options)
    return failure.value


def test_errors_name_the_file_and_say_why(tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"")
    error = fails(path)
    assert error.image == str(path)
    assert error.reason == "the file is empty (0 bytes)"
    assert fails(b"", name="upload 3").image == "upload 3"


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(LOSSLESS["png"])
    assert decode(path).size == (48, 32)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    assert fails(tmp_path / "none.jpg").reason == "there is no such file"
    assert fails(tmp_path).reason == "it is not a file"


def test_a_file_too_large_for_any_image_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(2**30 + 1)
    assert "more than" in fails(path).reason


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.jpg"
    path.write_bytes(LOSSLESS["png"])

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert fails(path).reason == "it cannot be read: Permission denied"


@pytest.mark.parametrize(
    "data",
    [b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>", b"\x00" * 100],
    ids=["text", "eps", "svg", "zeros"],
)
def test_other_files_are_not_images(data: bytes) -> None:
    error = fails(data)
    assert "not an image" in error.reason
    assert "JPEG" in error.remedy


@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY, "gif"])
def test_a_truncated_file_is_refused(name: str) -> None:
    data = GOOD[name]
    assert "damaged or truncated" in fails(data[: len(data) // 2]).reason


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_are_refused_with_their_number_of_frames(format_name: str) -> None:
    frames = [smooth().rotate(angle) for angle in (90, 180)]
    data = encoded(smooth(), format_name, save_all=True, append_images=frames)
    assert "3 frames" in fails(data).reason


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pixels_without_a_meaning_in_8_bits_are_refused(mode: str) -> None:
    image = Image.new(mode, (4, 4))
    assert repr(mode) in fails(encoded(image, "TIFF")).reason


def test_a_float_map_is_refused() -> None:
    assert "'F'" in fails(encoded(Image.new("F", (4, 4)), "PPM")).reason


WEBP_BOMB = (
    b"RIFF\x26\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00"
    + (16382).to_bytes(3, "little")
    + (16382).to_bytes(3, "little")
    + b"VP8L\x08\x00\x00\x00\x2f\x00\x00\x00\x00\x00\x00\x00"
)
BOMBS = {
    "png": png(60_000, 60_000, body=zlib.compress(b"\x00" * 1000)),
    "png, above Pillow's limit of a warning": png(12_000, 9_000),
    "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "ppm": b"P6 60000 60000 255\n",
    "gif": b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b"\x2c" + bytes(9) + b"\x02\x00;",
    "webp": WEBP_BOMB,
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_from_their_header(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error = fails(data)
    assert "bomb" in error.reason or "damaged" in error.reason


def test_a_bomb_names_its_size_and_the_limit() -> None:
    reason = fails(BOMBS["png"]).reason
    assert "60000 x 60000" in reason
    assert "89478485" in reason


def test_a_gif_whose_frame_is_larger_than_its_screen_is_a_bomb() -> None:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x00;"
    assert "bomb" in fails(b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + frame).reason


def test_the_limit_can_be_set_either_way() -> None:
    assert "limit of 1000" in fails(LOSSLESS["png"], max_pixels=1000).reason
    assert decode(LOSSLESS["png"], max_pixels=48 * 32).size == (48, 32)


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(self: Image.Image, mode: str) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", exhausted)
    assert "not enough memory" in fails(OTHERS["jpeg, grey"]).reason


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's list of open files")
def test_no_file_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    before = sorted(Path("/proc/self/fd").iterdir())
    for data in (*GOOD.values(), b"not an image", LOSSLESS["png"][:99]):
        path.write_bytes(data)
        with suppress(ImageError):
            decode(path)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_threads_do_not_disturb_each_other() -> None:
    barrier = threading.Barrier(4)
    names = list(GOOD)

    def work(offset: int) -> list[bytes]:
        barrier.wait()
        return [decode(GOOD[name]).tobytes() for name in names[offset:] + names[:offset]]

    with ThreadPoolExecutor(4) as executor:
        results = list(executor.map(work, range(4)))
    for offset, result in enumerate(results):
        assert result == [decode(GOOD[name]).tobytes() for name in names[offset:] + names[:offset]]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(GOOD)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    kept=st.floats(0.02, 1),
)
def test_damage_gives_an_image_or_an_image_error(
    name: str, changes: list[tuple[float, int]], kept: float
) -> None:
    data = bytearray(GOOD[name])
    for place, value in changes:
        data[int(place**3 * len(data))] = value  # mostly in the header
    with suppress(ImageError):
        image = decode(bytes(data[: int(kept * len(data))]), max_pixels=10**6)
        assert image.mode == "RGB"

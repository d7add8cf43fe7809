"""From the bytes of an image file to an RGB image, or to one error that names the file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from edgecnn.errors import ImageError
from edgecnn.preprocess.orientation import upright

__all__ = ["MAX_PIXELS", "decode", "read_image_file"]

#: Pillow's own limit: a quarter of a gigabyte of 24-bit colour.
MAX_PIXELS = 89_478_485

#: Larger files than this hold no image of at most MAX_PIXELS.
_MAX_BYTES = 2**30


class _JpegImageFile(JpegImageFile):
    """A JPEG file whose EXIF is not parsed for its resolution, with a warning about whatever is damaged."""

    def getexif(self) -> Image.Exif:
        """No EXIF; the orientation is read from ``info["exif"]``."""
        return Image.Exif()


#: The formats that are read, by the first bytes of a file. The classes are called directly, not through
#: ``Image.open``, which warns about large images (and a warning cannot be silenced in one thread alone), and
#: which takes a photograph with an embedded preview for a sequence of two.
_SIGNATURES: dict[bytes, Callable[[BytesIO], ImageFile.ImageFile]] = {
    b"\xff\xd8\xff": _JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"GIF87a": GifImageFile,
    b"GIF89a": GifImageFile,
    b"BM": BmpImageFile,
    b"RIFF": WebPImageFile,
    b"II*\x00": TiffImageFile,
    b"MM\x00*": TiffImageFile,
    b"II+\x00": TiffImageFile,
    b"MM\x00+": TiffImageFile,
    **{b"P" + kind: PpmImageFile for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"f")},
}
_FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF or PPM"

_8_BIT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_16_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})

#: What Pillow's decoders raise on damaged input, and the warnings that a program may have turned into errors.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    Warning,
)


def decode(source: bytes | Path, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image file to 8-bit RGB, upright as its EXIF orientation says. Safe in several threads.

    Other modes become RGB as by Pillow's ``convert("RGB")``, which torchvision's loader uses too: grey
    is repeated, CMYK is converted without a colour profile, and an alpha channel is dropped, not blended.
    16-bit grey, which Pillow would clip, is scaled to 8 bits.

    Args:
        source: the bytes of the file, or its path.
        name: what to call it in an error; the path by default.
        max_pixels: refuse larger images, before decoding them.

    Raises:
        ImageError: no such file, empty, not an image, damaged, truncated, too large, of several frames, or of
            a pixel type that has no meaning as 8-bit RGB.
    """
    name = name or (str(source) if isinstance(source, Path) else "image")
    data = source if isinstance(source, bytes) else read_image_file(source, name=name)
    try:
        image = _opened(data, name)
        _require_usable(image, name, max_pixels)
        image.load()
        return _rgb(image)
    except MemoryError as error:
        raise ImageError(name, "there is not enough memory to decode it") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            name, "it may be a decompression bomb: a part of it has far too many pixels"
        ) from error
    except _DAMAGE as error:
        raise ImageError(name, f"it is damaged or truncated ({error})") from error


def read_image_file(path: Path, *, name: str | None = None) -> bytes:
    """The bytes of an image file.

    Args:
        path: of the file.
        name: what to call it in an error; the path by default.

    Raises:
        ImageError: it is not there, is no regular file, is too large for an image, or cannot be read.
    """
    name = name or str(path)
    if not path.is_file():
        reason = "it is not a file" if path.exists() else "there is no such file"
        raise ImageError(name, reason, "Check the path.")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ImageError(name, f"the file has more than {_MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(name, f"it cannot be read: {error.strerror}", "Check its permissions.") from error


def _opened(data: bytes, name: str) -> ImageFile.ImageFile:
    """The image with its header read and its pixels not."""
    if not data:
        raise ImageError(name, "the file is empty (0 bytes)")
    for signature, opener in _SIGNATURES.items():
        if data.startswith(signature):
            return opener(BytesIO(data))
    raise ImageError(name, "it is not an image that edgecnn reads", f"Save it as {_FORMATS}.")


def _require_usable(image: ImageFile.ImageFile, name: str, max_pixels: int) -> None:
    """Check, from the header alone, that decoding is safe and means one image."""
    if image.width * image.height > max_pixels:
        raise ImageError(
            name,
            f"its {image.width} x {image.height} pixels are more than the limit of {max_pixels}; "
            "it may be a decompression bomb",
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(
            name, f"it holds {frames} frames, and which one is meant is unknown", "Save the one to use."
        )
    if image.mode not in _8_BIT and not _is_16_bit(image):
        raise ImageError(name, f"its pixels are of the type {image.mode!r}", "Save it as 8-bit RGB or grey.")


def _is_16_bit(image: Image.Image) -> bool:
    """Whether its pixels are 0 to 65535; Pillow widens those of PPM files to its 32-bit type."""
    return image.mode in _16_BIT or (image.mode == "I" and image.format == "PPM")


def _rgb(image: Image.Image) -> Image.Image:
    narrow = _to_8_bit(image) if _is_16_bit(image) else image
    turned = upright(narrow, image.info.get("exif"))
    # Pillow warns when a palette's transparency is lost in a conversion, as is meant here.
    turned.info.pop("transparency", None)
    return turned if turned.mode == "RGB" else turned.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """From 0..65535 to 0..255: divided by 257 and rounded."""
    wide = np.asarray(image).astype(np.uint32)
    wide += 128
    wide //= 257
    return Image.fromarray(wide.astype(np.uint8))

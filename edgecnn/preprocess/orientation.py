"""The orientation tag of EXIF metadata, read without a word about whatever else is wrong in it."""

from __future__ import annotations

import struct

from PIL import Image

__all__ = ["orientation_of", "upright"]

_TAG = 0x0112
_SHORT = 3

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, exif: object) -> Image.Image:
    """``image`` turned and mirrored as the block of EXIF says; itself when that is none, or no bytes."""
    method = _TRANSPOSES.get(orientation_of(exif)) if isinstance(exif, bytes) else None
    return image if method is None else image.transpose(method)


def orientation_of(exif: bytes) -> int:
    """The orientation, 1 to 8, in a block of EXIF; 1 where it states none or is damaged.

    A TIFF header and its first directory (TIFF 6.0, section 2): 8 bytes, then at the offset they name a
    count and that many entries of 12 bytes: tag, type, number of values, value. Pillow's own reader warns
    about damage in any other tag, which photographs on the web often have.
    """
    block = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}L", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHLH", block, start + 2 + 12 * entry)
            if tag == _TAG:
                return value if kind == _SHORT else 1
    except struct.error:
        return 1
    return 1

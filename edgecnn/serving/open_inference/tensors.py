"""A tensor's elements, out of the bytes, the JSON or the typed fields that a request brought them in.

Every function is given the shape that was promised, already checked against the model, so that its product is
known to be small; and refuses elements that are more or fewer.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable, Sequence
from functools import cache
from math import prod
from struct import Struct
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn.serving.faults import BadRequestError
from edgecnn.serving.open_inference.datatypes import DATATYPES

__all__ = [
    "Shape",
    "array_of_binary",
    "array_of_json",
    "array_of_numbers",
    "strings_of_binary",
    "strings_of_json",
    "strings_to_binary",
]

Shape = Sequence[int]

_LENGTH: Final = Struct("<I")
_PREFIX_BYTES: Final = _LENGTH.size
#: By kind of numpy's dtype.
_ELEMENTS: Final[dict[str, type]] = {"b": bool, "u": int, "i": int, "f": float}
_NESTED: Final = re.compile(rb"\s*\[\s*\[")
_STRINGS: Final = msgspec.json.Decoder(list[str | list[str]])


def array_of_binary(name: str, datatype: str, shape: Shape, data: bytes | memoryview) -> NDArray[Any]:
    """A view of ``data`` (little-endian, row by row) as an array; it need not be aligned.

    Raises:
        BadRequestError: another number of bytes than the shape needs.
    """
    dtype = DATATYPES[datatype]
    wanted = prod(shape) * dtype.itemsize
    if len(data) != wanted:
        raise BadRequestError(
            f"Input {name!r} brings {len(data)} bytes, and {datatype} {list(shape)} is {wanted} bytes.",
            "Send the elements little-endian, row by row, with the shape that they have.",
        )
    return np.frombuffer(data, dtype).reshape(shape)


def array_of_json(name: str, datatype: str, shape: Shape, data: bytes) -> NDArray[Any]:
    """The array that a JSON text holds, flat or nested as the shape says.

    Raises:
        BadRequestError: not such an array; or a number that the datatype cannot hold, NaN and infinity among
            them, which JSON does not have.
    """
    count = data.count(b",") + 1  # told before anything is built, so that a lie costs nothing
    if count != prod(shape):
        raise BadRequestError(
            f"Input {name!r} has {count} elements in its data, and {list(shape)} has {prod(shape)}.",
            "Send one element for each place of the shape.",
        )
    depth = len(shape) if _NESTED.match(data) else 1
    try:
        with np.errstate(over="ignore"):
            array = np.array(_decoder(DATATYPES[datatype].kind, depth).decode(data), DATATYPES[datatype])
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise _unfit(name, datatype, str(error)) from error
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _unfit(name, datatype, "a number is too large for it")
    if array.shape not in ((prod(shape),), tuple(shape)):
        raise BadRequestError(
            f"Input {name!r} has data nested as {list(array.shape)}, and its shape is {list(shape)}.",
            "Send the elements as one flat list, row by row, or nested exactly as the shape.",
        )
    return array.reshape(shape)


def array_of_numbers(name: str, datatype: str, shape: Shape, data: Sequence[Any]) -> NDArray[Any]:
    """The array of a typed field of a gRPC message.

    Raises:
        BadRequestError: another number of elements than the shape has, or one out of the datatype's range.
    """
    if len(data) != prod(shape):
        raise BadRequestError(
            f"Input {name!r} has {len(data)} elements in its contents, and the shape {list(shape)} has "
            f"{prod(shape)}.",
            f"Fill the field of contents that belongs to {datatype}, or use raw_input_contents.",
        )
    try:
        return np.array(data, DATATYPES[datatype]).reshape(shape)
    except OverflowError as error:
        raise _unfit(name, datatype, str(error)) from error


def strings_of_binary(name: str, count: int, data: bytes | memoryview) -> tuple[memoryview, ...]:
    """Views of the ``count`` strings of a BYTES tensor, each behind its length in four bytes, little-endian.

    Raises:
        BadRequestError: a length that leads past the end, or bytes left over.
    """
    view = memoryview(data)
    strings = []
    offset = 0
    for index in range(count):
        start = offset + _PREFIX_BYTES
        if start > len(view):
            raise BadRequestError(
                f"Input {name!r} ends before the length of element {index}: its shape promises {count}.",
                "Send each element behind its length (four bytes, little-endian).",
            )
        offset = start + _LENGTH.unpack_from(view, offset)[0]
        if offset > len(view):
            raise BadRequestError(
                f"Input {name!r} gives element {index} {offset - start} bytes; {len(view) - start} follow.",
                "Send each element behind its length (four bytes, little-endian).",
            )
        strings.append(view[start:offset])
    if offset != len(view):
        raise BadRequestError(
            f"Input {name!r} has {len(view) - offset} bytes left over after its {count} elements.",
            "Send as many elements as the shape has, each behind its length (four bytes, little-endian).",
        )
    return tuple(strings)


def strings_of_json(name: str, count: int, data: bytes) -> tuple[bytes, ...]:
    """The strings of a BYTES tensor in JSON, which are base64: an image file is never text.

    Raises:
        BadRequestError: not a list of ``count`` strings in base64.
    """
    found = data.count(b",") + 1  # base64 has no commas; told before anything is built
    if found != count:
        raise BadRequestError(
            f"Input {name!r} has {found} elements in its data, and its shape has {count}.",
            "Send one string in base64 for each place of the shape.",
        )
    try:
        listed = _STRINGS.decode(data)
        flat = [part for item in listed for part in ([item] if isinstance(item, str) else item)]
        strings = tuple(b64decode(text, validate=True) for text in flat)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise BadRequestError(
            f"Input {name!r} has data that are no list of strings in base64: {error}.",
            "Send each file in base64, or send the tensor as binary data.",
        ) from error
    return strings


def strings_to_binary(strings: Iterable[bytes]) -> bytes:
    """The BYTES tensor of ``strings``: each behind its length in four bytes, little-endian."""
    return b"".join(part for string in strings for part in (_LENGTH.pack(len(string)), string))


@cache
def _decoder(kind: str, depth: int) -> msgspec.json.Decoder[Any]:
    """What reads lists of ``depth`` levels, at the bottom of which elements of ``kind`` lie."""
    wanted: Any = _ELEMENTS[kind]
    for _ in range(depth):
        wanted = list[wanted]
    return msgspec.json.Decoder(wanted)


def _unfit(name: str, datatype: str, reason: str) -> BadRequestError:
    return BadRequestError(
        f"Input {name!r} has data that are not {datatype}: {reason[:120]}.",
        "Send a JSON list of such numbers, or the tensor as binary data, which may hold NaN and infinity.",
    )

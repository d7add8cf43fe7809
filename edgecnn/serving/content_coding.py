"""Compressed bodies: HTTP's content codings gzip and deflate, within bounds."""

from __future__ import annotations

import zlib
from typing import Final

from edgecnn.serving.faults import BadRequestError, TooLargeError, UnsupportedMediaTypeError

__all__ = ["CODINGS", "accepted_coding", "compress", "decompress"]

#: Coding -> zlib's window bits. "deflate" is zlib's own format (RFC 9110, section 8.4.1.2).
CODINGS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

#: Level 1 halves JSON numbers as the default does, at a third of its time.
_LEVEL: Final = 1


def decompress(body: bytes | memoryview, coding: str, max_bytes: int) -> bytes:
    """What a compressed body holds.

    Args:
        body: in the coding.
        coding: the header Content-Encoding.
        max_bytes: of the result; no more than that is ever produced.

    Raises:
        UnsupportedMediaTypeError: another coding, or several.
        BadRequestError: the body is not in that coding, or cut off.
        TooLargeError: it holds more than ``max_bytes``.
    """
    bits = CODINGS.get(coding.strip().lower())
    if bits is None:
        raise UnsupportedMediaTypeError(
            f"The body's Content-Encoding is {coding[:32]!r}.", "Use gzip or deflate, or send it as it is."
        )
    stream = zlib.decompressobj(bits)
    try:
        result = stream.decompress(body, max_bytes)
    except zlib.error as error:
        raise BadRequestError(f"The body is no {coding}: {error}.", "Send it uncompressed.") from error
    if stream.unconsumed_tail and not stream.eof:
        raise TooLargeError(
            f"The body holds more than {max_bytes} bytes once it is decompressed.",
            "Send fewer images at a time.",
        )
    if not stream.eof or stream.unused_data:
        problem = "goes on after its end" if stream.eof else "ends too early"
        raise BadRequestError(f"The body in {coding} {problem}.", "Send the whole of it, and no more.")
    return result


def compress(body: bytes, coding: str) -> bytes:
    """``body`` in one of :data:`CODINGS`."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, CODINGS[coding])
    return stream.compress(body) + stream.flush()


def accepted_coding(header: str) -> str | None:
    """The first of the codings that a header Accept-Encoding names, without a weight of 0; None if none."""
    for item in header.lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() in CODINGS and weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            return coding.strip()
    return None

"""The bytes of an answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from edgecnn.serving.http.message import Body, Headers, Response

__all__ = ["CONTINUE", "Answer", "encode"]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}


class _Date:
    """The date of answers, written once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


_DATE: Final = _Date()


@dataclass(slots=True)
class Answer:
    """Encoded.

    Attributes:
        pieces: of bytes, in the order that they are sent; the first is the head.
        length: bytes of the body that is sent.
    """

    pieces: list[Body]
    length: int


def encode(response: Response, extra: Headers, *, bodiless: bool, close: bool) -> Answer:
    """What goes over the wire.

    Args:
        response: of a handler.
        extra: further headers, of the connection.
        bodiless: the answer to HEAD, which has the head that GET would get, and no body.
        close: whether the connection ends after it.

    Raises:
        ValueError: a header that would end its line, or is not Latin-1, or a status that is none.
        TypeError: a body or a header of the wrong type.
    """
    # Neither status may have content (RFC 9110, section 6.4.1).
    allowed = response.status not in (204, 304)
    pieces = [_octets(piece) for piece in response.pieces] if allowed else []
    length = sum(map(len, pieces))
    fields = [("date", _DATE.now()), *response.headers, *extra]
    if allowed:
        fields.append(("content-type", response.content_type))
        fields.append(("content-length", str(length)))
    if close:
        fields.append(("connection", "close"))
    head = _head(response.status, fields)
    return Answer([head], 0) if bodiless else Answer([head, *pieces], length)


def _octets(piece: Body) -> Body:
    """``piece`` so that its length is its bytes."""
    if isinstance(piece, bytes):
        return piece
    view = memoryview(piece)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _head(status: int, fields: list[tuple[str, str]]) -> bytes:
    line = _STATUS_LINES.get(status)
    if line is None:
        raise ValueError(f"{status} is no status of HTTP")
    text = "\r\n".join([line, *[f"{name}: {value}" for name, value in fields], "", ""])
    head = text.encode("latin-1")
    # One line each, and the empty one: whatever a handler echoes cannot begin a line of its own.
    if head.count(b"\n") != len(fields) + 2 or head.count(b"\r") != len(fields) + 2:
        raise ValueError("a header of the answer has a line end in it")
    return head

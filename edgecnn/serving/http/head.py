"""The head of a request: its octets checked, parsed by llhttp, and read strictly.

llhttp is strict about tokens and lengths. What it lets through and a proxy in front may read otherwise
(several spaces, absolute targets, codings other than chunked, a second Host) is refused here, because two
readers who differ on where a request ends is how requests are smuggled (RFC 9112, section 11.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import httptools

from edgecnn.serving.faults import RequestError
from edgecnn.serving.http.refusals import ExpectationError, HeadTooLargeError, VersionError, malformed

__all__ = ["Head", "check_beginning", "parse_head"]

_METHODS: Final = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}
_VERSIONS: Final = {b"HTTP/1.1": (1, 1), b"HTTP/1.0": (1, 0)}
_MAX_FIELDS: Final = 128
_MAX_REMEMBERED_BYTES: Final = 1024
_TEXT: Final = b"\t\r\n" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_TARGET: Final = re.compile(rb"/[!$-;=?-Z\[\]_a-z~|@%]*")  # visible ASCII that RFC 3986 or browsers use
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
#: Fields whose second appearance is no list but a contradiction.
_SINGLE: Final = frozenset(
    (
        "authorization",
        "content-length",
        "content-type",
        "expect",
        "host",
        "inference-header-content-length",
        "origin",
        "transfer-encoding",
        "x-api-key",
    )
)


@dataclass(frozen=True, slots=True)
class Head:
    """What the request line and the header fields say. Shared by all requests that say the same.

    Attributes:
        method: one of the seven that are known.
        path: as sent, still percent-encoded, without the query; begins with "/".
        query: as sent, without the question mark.
        headers: by lower-case name; repeated ones joined by ", ".
        content_length: bytes of the body; None when it is chunked or the field is absent.
        chunked: the body comes in chunks.
        keep_alive: whether the connection may carry another request.
        expects_continue: the client waits for "100 Continue" before it sends the body.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    content_length: int | None
    chunked: bool
    keep_alive: bool
    expects_continue: bool

    @property
    def has_body(self) -> bool:
        """Whether bytes follow that belong to the request."""
        return self.chunked or bool(self.content_length)


class _Fields:
    """Gathers what llhttp calls out."""

    __slots__ = ("fault", "headers")

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.fault: RequestError | None = None

    def on_header(self, name: bytes, value: bytes | None) -> None:
        key = name.decode("latin-1").lower()
        text = (value or b"").decode("latin-1").strip(" \t")
        known = self.headers
        if key not in known:
            known[key] = text
            if len(known) > _MAX_FIELDS:
                self.fault = HeadTooLargeError(
                    f"The request has more than {_MAX_FIELDS} header fields.", "Send fewer."
                )
        elif key in _SINGLE:
            self.fault = malformed(f"has {key} twice")
        else:
            known[key] = f"{known[key]}, {text}"


def check_beginning(held: bytes, limit: int) -> None:
    """Refuse the beginning of a head as soon as no rest can make it good.

    Args:
        held: what came of it.
        limit: bytes that a head may have.

    Raises:
        RequestError: it is malformed, or too large.
    """
    _check_octets(held)
    if len(held) >= limit:
        raise HeadTooLargeError(
            f"The request's head is larger than {limit} bytes.", "Send fewer or shorter header fields."
        )


def parse_head(head: bytes) -> Head:
    """Read a whole head.

    Args:
        head: from the first byte of the request line to the empty line, inclusive.

    Raises:
        RequestError: it is malformed, or says something that this server refuses to interpret.
    """
    # Clients repeat themselves byte for byte: half of the time that a small request takes is saved.
    return _remembered(head) if len(head) <= _MAX_REMEMBERED_BYTES else _read(head)


@lru_cache(maxsize=256)
def _remembered(head: bytes) -> Head:
    return _read(head)


def _read(head: bytes) -> Head:
    _check_octets(head)
    method, target, version = _request_line(head[: head.index(b"\r\n")])
    headers = _fields(head)
    chunked, length = _framing(headers, version)
    _check_host(headers, version)
    path, _, query = target.partition("?")
    return Head(
        method=method,
        path=path,
        query=query,
        headers=MappingProxyType(headers),
        content_length=length,
        chunked=chunked,
        keep_alive=version == (1, 1) and not _closes(headers),
        expects_continue=version == (1, 1) and _expects(headers),
    )


def _check_octets(head: bytes) -> None:
    """Look at the octets of a head, or of the beginning of one, for what never belongs there.

    Raises:
        BadRequestError: a control character, a line that does not end in CR LF, or a folded line.
    """
    stray = head.translate(None, _TEXT)
    if stray:
        raise malformed(f"has the control character 0x{stray[0]:02x} in its head")
    ends = head.count(b"\r\n")
    if head.count(b"\n") != ends or head.count(b"\r") - head.endswith(b"\r") != ends:
        raise malformed("has a line that does not end in CR LF")
    if b"\r\n " in head or b"\r\n\t" in head:
        raise malformed("has a folded header line")


def _request_line(line: bytes) -> tuple[str, str, tuple[int, int]]:
    words = line.split(b" ")
    if len(words) != 3 or b"\t" in line:
        raise malformed("has a request line that is not METHOD TARGET VERSION")
    method = _METHODS.get(words[0])
    if method is None:
        raise malformed(f"has a method other than {', '.join(_METHODS.values())}")
    version = _VERSIONS.get(words[2])
    if version is None:
        if words[2].startswith(b"HTTP/"):
            raise VersionError("The request's version of HTTP is not spoken here.", "Use HTTP/1.1.")
        raise malformed("has a request line that does not end in HTTP/1.1")
    if not _TARGET.fullmatch(words[1]):
        raise malformed("has a target that is not an absolute path with an optional query")
    return method, words[1].decode("ascii"), version


def _fields(head: bytes) -> dict[str, str]:
    fields = _Fields()
    # One parser a head: it costs 2 us, and no state can leak from one request into the next.
    parser = httptools.HttpRequestParser(fields)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # an offer to switch protocols may be ignored (RFC 9110, section 7.8)
    except httptools.HttpParserError as error:
        raise malformed(f"has a malformed head ({_clause(error)})") from error
    if fields.fault is not None:
        raise fields.fault
    return fields.headers


def _clause(error: httptools.HttpParserError) -> str:
    return str(error).rstrip(".").lower() or "unreadable"


def _framing(headers: dict[str, str], version: tuple[int, int]) -> tuple[bool, int | None]:
    """Whether the body is chunked, and its length if it is stated."""
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise malformed("has both Transfer-Encoding and Content-Length")
        if coding.lower() != "chunked" or version == (1, 0):
            raise malformed("has a transfer coding other than chunked, or one in HTTP/1.0")
        return True, None
    if length is None:
        return False, None
    if not (length.isascii() and length.isdigit() and len(length) <= 18):
        raise malformed("has a Content-Length that is no number of bytes")
    return False, int(length)


def _check_host(headers: dict[str, str], version: tuple[int, int]) -> None:
    host = headers.get("host")
    if host is None:
        if version == (1, 1):
            raise malformed("has no Host")
    elif not _HOST.fullmatch(host):
        raise malformed("has a malformed Host")


def _closes(headers: dict[str, str]) -> bool:
    connection = headers.get("connection")
    if connection is None:
        return False
    return "close" in [word.strip() for word in connection.lower().split(",")]


def _expects(headers: dict[str, str]) -> bool:
    expected = headers.get("expect")
    if expected is None:
        return False
    if expected.lower() != "100-continue":
        raise ExpectationError("Expect is not 100-continue.", "Leave it out.")
    return True

"""Files that a form sends (multipart/form-data, RFC 7578), taken out of a whole body."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from edgecnn.serving.faults import BadRequestError, TooLargeError, UnsupportedMediaTypeError
from edgecnn.serving.http.message import Body

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["FormPart", "parse_form"]

#: What the parser would write to the log of a malformed form is in the answer to it.
_SILENT: Final = logging.Logger("multipart", logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class FormPart:
    """One part of a form.

    Attributes:
        name: of the field.
        file_name: without folders; None for a field that is no file.
        content_type: in lower case, without parameters; "" when the client says none.
        content: its bytes, not copied: it keeps the memory of the whole form alive.
    """

    name: str
    file_name: str | None
    content_type: str
    content: Body


def parse_form(content_type: str, body: Body, max_parts: int) -> list[FormPart]:
    """Take a form apart.

    Args:
        content_type: of the request, with its boundary.
        body: whole.
        max_parts: of the form.

    Raises:
        UnsupportedMediaTypeError: the content type is not multipart/form-data.
        BadRequestError: no boundary, a malformed or unfinished form, or a part without a name.
        TooLargeError: more parts than allowed.
    """
    kind, parameters = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise UnsupportedMediaTypeError("The body is no multipart/form-data.", "Send a form with files.")
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise _bad("its content type names no boundary")
    gathered = _Gathered(bytes(body))
    # Forms that no client makes, and that the parser would take byte by byte, for seconds: full of boundaries
    # (one stands before each part and one after the last: RFC 2046, section 5.1.1), or of blanks after one.
    delimiter = b"\r\n--" + boundary
    if gathered.whole.count(delimiter) > max_parts + 1:
        raise _too_many(max_parts)
    if delimiter + b" " in gathered.whole or delimiter + b"\t" in gathered.whole:
        raise _bad("there are blanks after a boundary")
    try:
        parser = MultipartParser(boundary, gathered.callbacks())
        parser.logger = _SILENT
        parser.write(gathered.whole)
        parser.finalize()
    except FormParserError as error:
        raise _bad(str(error).rstrip(".")) from error
    if not gathered.ended:
        raise _bad("it ends before its last boundary")
    if len(gathered.parts) > max_parts:
        raise _too_many(max_parts)
    return gathered.parts


class _Gathered:
    """Builds parts of what the parser calls out."""

    def __init__(self, whole: bytes) -> None:
        self.whole = whole
        self.parts: list[FormPart] = []
        self.ended = False
        self._view = memoryview(whole)
        self._headers: dict[bytes, bytes] = {}
        self._field = b""
        self._value = b""
        self._content: list[Body] = []

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._end_header,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._headers, self._content = {}, []
        self._field = self._value = b""

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        # What looked like the beginning of a boundary comes from the parser's own memory.
        self._content.append(self._view[start:end] if data is self.whole else data[start:end])

    def _end(self) -> None:
        disposition, parameters = parse_options_header(self._headers.get(b"content-disposition"))
        name = parameters.get(b"name")
        if disposition != b"form-data" or name is None:
            raise _bad(f"part {len(self.parts) + 1} has no Content-Disposition: form-data with a name")
        file_name = parameters.get(b"filename")
        kind, _ = parse_options_header(self._headers.get(b"content-type"))
        content = self._content[0] if len(self._content) == 1 else b"".join(self._content)
        self.parts.append(
            FormPart(
                _text(name),
                None if file_name is None else _base_name(_text(file_name)),
                kind.decode("latin-1"),
                content,
            )
        )

    def _finish(self) -> None:
        self.ended = True


def _text(value: bytes) -> str:
    return "".join(c for c in value.decode("utf-8", "replace") if c.isprintable())


def _base_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _too_many(max_parts: int) -> TooLargeError:
    return TooLargeError(f"The form has more than {max_parts} parts.", "Send fewer at a time.")


def _bad(fault: str) -> BadRequestError:
    return BadRequestError(f"The form is malformed: {fault}.", "Send multipart/form-data as RFC 7578 says.")

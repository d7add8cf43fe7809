"""A request made of its head: what handlers and the log shall know of it."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import Final
from urllib.parse import parse_qs

from edgecnn.serving.http.head import Head
from edgecnn.serving.http.message import Headers, Request
from edgecnn.serving.http.refusals import malformed
from edgecnn.serving.http.routing import split_path

__all__ = ["Incoming", "complete", "traced"]

_ID: Final = re.compile(r"[!-~]{1,128}")
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_QUERY_FIELDS: Final = 64


class Incoming:
    """Makes requests. Ids that a client did not choose are unique to this object."""

    __slots__ = ("_count", "_prefix")

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._count = itertools.count(1)

    def request(self, head: Head, peer: str, received_s: float) -> Request:
        """The request of ``head``, still without its body, route and parameters.

        Its query is left empty: it is read once the request is admitted (:func:`complete`).
        """
        headers = head.headers
        given = headers.get("x-request-id")
        trace = headers.get("traceparent")
        return Request(
            method=head.method,
            path=head.path,
            query={},
            headers=headers,
            body=b"",
            peer=peer,
            id=given if given is not None and _ID.fullmatch(given) else self._made_up(),
            traceparent=trace if trace is not None and _TRACEPARENT.fullmatch(trace) else None,
            received_s=received_s,
        )

    def unreadable(self, peer: str, received_s: float) -> Request:
        """Stands in the log for a request whose head could not be read."""
        return Request("-", "-", {}, {}, b"", peer, self._made_up(), None, received_s)

    def _made_up(self) -> str:
        return f"{self._prefix}-{next(self._count):x}"


def complete(request: Request, head: Head) -> None:
    """Decode path and query of an admitted request.

    Raises:
        BadRequestError: either is malformed.
    """
    if "%" in head.path:
        request.path = "/" + "/".join(split_path(head.path))
    if head.query:
        try:
            request.query = parse_qs(
                head.query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_QUERY_FIELDS
            )
        except ValueError as error:
            raise malformed(
                f"has a query that is not UTF-8, or more than {_MAX_QUERY_FIELDS} values"
            ) from error


def traced(request: Request) -> Headers:
    """What the answer repeats, so that both sides speak of the same request."""
    if request.traceparent is None:
        return (("x-request-id", request.id),)
    return (("x-request-id", request.id), ("traceparent", request.traceparent))

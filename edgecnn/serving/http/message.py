"""What a handler is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from edgecnn.serving.faults import RequestError

__all__ = ["Body", "Handler", "Headers", "Request", "Response", "Served", "error_response", "json_response"]

Body: TypeAlias = "bytes | bytearray | memoryview"
Headers: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Served:
    """What handlers note of a request, for the access log; None where it does not apply.

    Attributes:
        model: its name.
        version: of the model.
        images: how many were asked about.
        queue_ms: from the request's start until an engine took it.
        compute_ms: in the engine.
        refusal: why it was refused, the ``reason`` of its error.
    """

    model: str | None = None
    version: str | None = None
    images: int | None = None
    queue_ms: float | None = None
    compute_ms: float | None = None
    refusal: str | None = None


@dataclass(slots=True, eq=False)
class Request:
    """One request, whole.

    Attributes:
        method: in capitals.
        path: percent-decoded, without the query.
        query: values by name, in the order that they came.
        headers: by lower-case name; repeated ones joined by ", ".
        body: all of it; no one else holds this memory, and what is longer than nothing is writable.
        peer: who sent it, "address:port".
        id: of the request, from ``x-request-id`` or made up.
        traceparent: W3C's trace context, when there is a well-formed one.
        received_s: when its first byte came, in the time of the event loop.
        parameters: what stands in the path for ``{name}``, percent-decoded; may hold "/" (sent as %2F).
        route: the pattern that its path matched, or "" if none did: few values, fit to label a metric.
        served: notes for the access log.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Body
    peer: str
    id: str
    traceparent: str | None
    received_s: float
    parameters: Mapping[str, str] = field(default_factory=dict)
    route: str = ""
    served: Served = field(default_factory=Served)

    @property
    def media_type(self) -> str:
        """The content type in lower case, without parameters; "" when there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(slots=True, eq=False)
class Response:
    """An answer. The connection adds its length, the date and the request's id.

    Attributes:
        status: HTTP's.
        body: whole, in one piece or in several that are sent one after the other.
        content_type: of the body.
        headers: further ones, lower-case names.
    """

    status: int
    body: Body | Sequence[Body] = b""
    content_type: str = "application/json"
    headers: Headers = ()

    @property
    def pieces(self) -> Sequence[Body]:
        """The body as a sequence."""
        body = self.body
        return (body,) if isinstance(body, bytes | bytearray | memoryview) else body


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


def json_response(value: object, status: int = 200, headers: Headers = ()) -> Response:
    """``value`` as JSON, as :func:`msgspec.json.encode` writes it."""
    return Response(status, msgspec.json.encode(value), headers=headers)


def error_response(error: RequestError) -> Response:
    """Status, headers and sentence of ``error``."""
    return json_response({"error": error.sentence}, error.status, error.headers())

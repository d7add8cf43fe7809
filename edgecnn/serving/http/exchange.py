"""A request on its way to its answer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from edgecnn.serving.faults import ServerFailureError
from edgecnn.serving.http.chunks import ChunkedBody
from edgecnn.serving.http.head import Head
from edgecnn.serving.http.landing import Landing
from edgecnn.serving.http.message import Handler, Request, Response, error_response

__all__ = ["Exchange", "failed"]

_LOG: Final = logging.getLogger("edgecnn.serving")
_FAILURE: Final = ServerFailureError(
    "The server failed.", "Try again; its log says why, under the request's id."
)


@dataclass(slots=True, eq=False)
class Exchange:
    """What a connection holds of one request.

    Attributes:
        request: as the handler gets it.
        head: None when it could not be read.
        handler: None until the head is admitted.
        incoming: the body while it comes.
        body_begun_s: when it began to.
        reserved_bytes: of the server's budget, given back with the answer.
        buffer: memory of the body, likewise.
        task: of the handler.
    """

    request: Request
    head: Head | None
    handler: Handler | None = None
    incoming: Landing | ChunkedBody | None = None
    body_begun_s: float = 0.0
    reserved_bytes: int = 0
    buffer: bytearray | None = None
    task: asyncio.Task[None] | None = None


def failed(request: Request) -> Response:
    """What is answered when the fault is here; the traceback goes to the log."""
    _LOG.exception("request %s failed: %s %s", request.id, request.method, request.path)
    request.served.refusal = _FAILURE.reason
    return error_response(_FAILURE)

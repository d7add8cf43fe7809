"""One line of JSON for each request."""

from __future__ import annotations

import logging
import time
from typing import Final

import msgspec

from edgecnn.serving.http.message import Request

__all__ = ["ACCESS_LOGGER", "AccessLine", "AccessLog"]

ACCESS_LOGGER: Final = logging.getLogger("edgecnn.access")


class AccessLine(msgspec.Struct, omit_defaults=True):
    """What a line says; what a request has nothing of is left out.

    Attributes:
        time: when it was answered, ISO 8601 in UTC, milliseconds.
        request_id: as the answer's ``x-request-id`` says it.
        peer: address and port of who asked.
        method: of HTTP; "-" when the head could not be read.
        path: percent-decoded, without the query; "-" when the head could not be read.
        status: of the answer; 499 when the client left before it.
        bytes_in: of the body that came.
        bytes_out: of the body that was sent.
        duration_ms: from the first byte of the request to the last of the answer being handed over.
        model: that was asked.
        version: of the model.
        images: how many were asked about.
        queue_ms: from its start until an engine took it.
        compute_ms: in the engine.
        refusal: why it was refused, in one word.
        trace_id: of ``traceparent``.
    """

    time: str
    request_id: str
    peer: str
    method: str
    path: str
    status: int
    bytes_in: int
    bytes_out: int
    duration_ms: float
    model: str | None = None
    version: str | None = None
    images: int | None = None
    queue_ms: float | None = None
    compute_ms: float | None = None
    refusal: str | None = None
    trace_id: str | None = None


class AccessLog:
    """Writes lines to the logger "edgecnn.access", at INFO."""

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._second = -1
        self._text = ""

    def write(self, request: Request, status: int, bytes_out: int, duration_s: float) -> None:
        """One request was answered, or left."""
        if not ACCESS_LOGGER.isEnabledFor(logging.INFO):
            return
        served = request.served
        line = AccessLine(
            self._now(),
            request.id,
            request.peer,
            request.method,
            request.path,
            status,
            len(request.body),
            bytes_out,
            round(duration_s * 1e3, 3),
            served.model,
            served.version,
            served.images,
            _rounded(served.queue_ms),
            _rounded(served.compute_ms),
            served.refusal,
            request.traceparent[3:35] if request.traceparent else None,
        )
        text = self._encoder.encode(line).decode()
        # Not info(): that looks for the calling line, which costs more than all else here.
        logger = ACCESS_LOGGER
        logger.handle(logger.makeRecord(logger.name, logging.INFO, __file__, 0, text, (), None))

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int((now - second) * 1000):03d}Z"


def _rounded(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 3)

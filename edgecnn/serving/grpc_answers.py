"""What a gRPC client is told when it cannot have what it asked for."""

from __future__ import annotations

from typing import Final

import grpc

from edgecnn.serving.faults import (
    BadRequestError,
    DeadlineError,
    ForbiddenError,
    LoadFailedError,
    NotFoundError,
    OverloadedError,
    RequestError,
    RequestTimeoutError,
    ServerFailureError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)

__all__ = ["FAILURE", "status_of", "trailers_of"]

#: What is told of an error that is nobody's business outside; the log has the rest.
FAILURE: Final = ServerFailureError("The server failed on this request.", "Its log says why.")

#: RESOURCE_EXHAUSTED may be tried again, and too large a request is too large again.
_STATUS: Final[dict[type[RequestError], grpc.StatusCode]] = {
    BadRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    LoadFailedError: grpc.StatusCode.INVALID_ARGUMENT,
    TooLargeError: grpc.StatusCode.INVALID_ARGUMENT,
    UnauthorizedError: grpc.StatusCode.UNAUTHENTICATED,
    ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    RequestTimeoutError: grpc.StatusCode.DEADLINE_EXCEEDED,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def status_of(error: RequestError) -> grpc.StatusCode:
    """gRPC's status of an error; INTERNAL for what has none of its own."""
    return _STATUS.get(type(error), grpc.StatusCode.INTERNAL)


def trailers_of(error: RequestError) -> tuple[tuple[str, str], ...]:
    """What an HTTP answer's head says besides, as metadata."""
    return error.headers()

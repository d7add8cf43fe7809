"""What a server answers when it cannot do what was asked: errors that have a status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from edgecnn.errors import EdgecnnError

__all__ = [
    "BadRequestError",
    "DeadlineError",
    "ForbiddenError",
    "LoadFailedError",
    "MethodNotAllowedError",
    "NotFoundError",
    "OverloadedError",
    "RequestError",
    "RequestTimeoutError",
    "ServerFailureError",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "UnsupportedMediaTypeError",
    "refusal_of",
]


class RequestError(EdgecnnError):
    """A request that is not answered as it wished.

    Attributes:
        status: HTTP's.
        reason: one word for it, the label in metrics.
    """

    status: ClassVar[int]
    reason: ClassVar[str]

    @property
    def sentence(self) -> str:
        """Problem and remedy in one line, as ``{"error": ...}`` holds it."""
        return f"{self.problem} {self.remedy}"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What the answer's head says besides."""
        return ()


class BadRequestError(RequestError):
    """The request is malformed, or does not fit the model."""

    status, reason = 400, "malformed"


class LoadFailedError(RequestError):
    """A model that a client wants loaded does not load; Triton answers 400, too."""

    status, reason = 400, "load_failed"


class UnauthorizedError(RequestError):
    """No API key, or a wrong one."""

    status, reason = 401, "unauthorized"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The scheme that is wanted (RFC 9110, section 11.6.1)."""
        return (("www-authenticate", "Bearer"),)


class ForbiddenError(RequestError):
    """The server was started without permission for it."""

    status, reason = 403, "forbidden"


class NotFoundError(RequestError):
    """No such path, model or version."""

    status, reason = 404, "unknown"


class MethodNotAllowedError(RequestError):
    """The path exists, with other methods.

    Attributes:
        allowed: the methods that it takes.
    """

    status, reason = 405, "method"

    def __init__(self, method: str, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{path} does not take {method}.", f"Use {' or '.join(allowed)}.")
        self.allowed = allowed

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The methods that the path takes (RFC 9110, section 10.2.1)."""
        return (("allow", ", ".join(self.allowed)),)


class RequestTimeoutError(RequestError):
    """The client was too slow to send its request."""

    status, reason = 408, "slow"


class TooLargeError(RequestError):
    """A body, an image or a number of images above the limit."""

    status, reason = 413, "too_large"


class UnsupportedMediaTypeError(RequestError):
    """A content type that the path does not take."""

    status, reason = 415, "media_type"


class OverloadedError(RequestError):
    """The queue is full, or so long that the request would expire in it.

    Attributes:
        retry_after_s: when there may be room again.
    """

    status, reason = 429, "overloaded"

    def __init__(self, problem: str, retry_after_s: float) -> None:
        super().__init__(problem, "Try again later, or spread the load.")
        self.retry_after_s = retry_after_s

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Whole seconds, one at least (RFC 9110, section 10.2.3)."""
        return (("retry-after", str(max(1, math.ceil(self.retry_after_s)))),)


class ServerFailureError(RequestError):
    """The engine failed, or the server itself is wrong."""

    status, reason = 500, "failure"


class UnavailableError(RequestError):
    """The server, or the model, is not ready or is going away."""

    status, reason = 503, "unavailable"


class DeadlineError(RequestError):
    """The request's time ran out before its turn came."""

    status, reason = 504, "expired"


#: What a client can be told that asks for models to be loaded or unloaded, by status.
_OF_CLIENTS: dict[object, type[RequestError]] = {
    each.status: each for each in (LoadFailedError, NotFoundError)
}


def refusal_of(answer: Mapping[str, Any]) -> RequestError:
    """What a worker's answer with the key "error" is for the client that asked for it.

    Args:
        answer: to a broadcast; with the key "status" where the worker refused, without it where it failed.
    """
    kind = _OF_CLIENTS.get(answer.get("status"), UnavailableError)
    return kind(str(answer["error"]), "See the server's log.")

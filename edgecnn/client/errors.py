"""What a client raises.

ClientError
├── RefusedError       the server answered, and said no
│   └── GaveUpError    it was busy or not ready, and stayed so for as long as the retries lasted
├── UnreachableError   no answer: no connection, or a lost one
│   ├── UntrustedError     the server's certificate is not trusted
│   └── TimedOutError      none in time
└── AnswerError        an answer that is not of the protocol
"""

from __future__ import annotations

from edgecnn.errors import EdgecnnError

__all__ = [
    "AnswerError",
    "ClientError",
    "GaveUpError",
    "RefusedError",
    "TimedOutError",
    "UnreachableError",
    "UntrustedError",
]


class ClientError(EdgecnnError):
    """A request to a server that brought no result."""


class RefusedError(ClientError):
    """The server answered with a status that is no success.

    Attributes:
        status: HTTP's.
    """

    def __init__(self, status: int, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.status = status


class GaveUpError(RefusedError):
    """The server was busy or not ready (429, 503) at every attempt.

    Attributes:
        attempts: how many were made.
        retry_after_s: what the last answer asked for; None where it did not say.
    """

    def __init__(
        self, status: int, problem: str, remedy: str, *, attempts: int, retry_after_s: float | None
    ) -> None:
        super().__init__(status, problem, remedy)
        self.attempts = attempts
        self.retry_after_s = retry_after_s


class UnreachableError(ClientError):
    """No answer: the server cannot be connected to, closed the connection, or took too long."""


class UntrustedError(UnreachableError):
    """The server's certificate is from no authority that is trusted, has expired, or names another host."""


class TimedOutError(UnreachableError):
    """The server took too long."""


class AnswerError(ClientError):
    """An answer that does not say what the protocol has it say."""

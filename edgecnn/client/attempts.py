"""One call from its first attempt to its result: everything about it but sending and waiting."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from typing import Generic, TypeVar

import httpx
import msgspec

from edgecnn.client.calls import Answer, Call
from edgecnn.client.errors import (
    ClientError,
    GaveUpError,
    RefusedError,
    TimedOutError,
    UnreachableError,
    UntrustedError,
)
from edgecnn.client.retries import RETRIED_STATUSES, RetryPolicy, pause_s, read_retry_after

__all__ = ["Attempts", "Outcome"]

T = TypeVar("T")

Outcome = Answer | httpx.RequestError

#: Nothing was answered, and nothing is under way any more: sending again is safe and may help. A request that
#: timed out is still in the server's hands, and sending it again would double its load.
_LOST = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
)

_REMEDIES = {
    400: "Correct the request: the server says what is wrong with it.",
    401: "Pass api_key=..., as whoever runs the server says.",
    403: "The server was started without permission for this.",
    404: "models() lists what it has.",
    413: "Send smaller or fewer images, or raise the server's limit.",
    415: "Send an image file, or a tensor with infer().",
    500: "The server's log says why, under the same request id.",
    504: "The server is too busy for its time limit: send less, or allow more.",
}


class Attempts(Generic[T]):
    """What has been tried for one call.

    Attributes:
        made: how many attempts.
    """

    def __init__(
        self,
        call: Call[T],
        policy: RetryPolicy,
        url: str,
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Begin now.

        Args:
            call: what is asked for.
            policy: how persistently.
            url: of the server, for messages.
            clock: seconds, never running backwards.
            draw: uniform from 0 to 1.
        """
        self.made = 0
        self._call, self._policy, self._url = call, policy, url
        self._clock, self._draw = clock, draw
        self._deadline_s = clock() + policy.deadline_s

    def left_s(self) -> float:
        """Until the deadline; never negative."""
        return max(0.0, self._deadline_s - self._clock())

    def pause_s(self, outcome: Outcome) -> float | None:
        """How long to wait before the next attempt; None if ``outcome`` is final."""
        self.made += 1
        if not (self._call.retry and self._passes(outcome)):
            return None
        return pause_s(
            self._policy,
            attempts=self.made,
            left_s=self.left_s(),
            retry_after_s=_retry_after_s(outcome),
            draw=self._draw,
        )

    def result(self, outcome: Outcome) -> T:
        """What the call brought.

        Raises:
            RefusedError: the server said no.
            UnreachableError: it said nothing.
            AnswerError: it said something that is not of the protocol.
        """
        if isinstance(outcome, httpx.RequestError):
            raise self._unreachable(outcome) from outcome
        if self._call.accepted(outcome.status):
            return self._call.read(outcome)
        raise self._refused(outcome)

    def _passes(self, outcome: Outcome) -> bool:
        """Whether it may be otherwise next time."""
        if isinstance(outcome, Answer):
            return outcome.status in RETRIED_STATUSES and not self._call.accepted(outcome.status)
        return isinstance(outcome, _LOST) and _of_tls(outcome) is None

    def _refused(self, answer: Answer) -> RefusedError:
        said = (
            f"{self._url} answered {answer.status} to {self._call.method} {self._call.path}: {_said(answer)}"
        )
        if answer.status not in RETRIED_STATUSES:
            return RefusedError(
                answer.status, said, _REMEDIES.get(answer.status, "Is this the right server?")
            )
        return GaveUpError(
            answer.status,
            f"{said} ({self._tried()})",
            "Send less at a time, try later, or allow more with RetryPolicy(attempts=..., deadline_s=...).",
            attempts=self.made,
            retry_after_s=_retry_after_s(answer),
        )

    def _unreachable(self, error: httpx.RequestError) -> ClientError:
        what = str(error) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return TimedOutError(
                f"{self._url} did not answer {self._call.method} {self._call.path} in time: {what}.",
                "Allow more with timeout_s=... and RetryPolicy(deadline_s=...), or send less at a time.",
            )
        if isinstance(_of_tls(error), ssl.SSLCertVerificationError):
            return UntrustedError(
                f"{self._url} and this client do not agree on TLS: {what}.",
                "Pass verify=ssl.create_default_context(cafile=...) with the authority that the server's "
                "certificate is from, or verify=False to trust anybody.",
            )
        if _of_tls(error) is not None:
            return UnreachableError(
                f"{self._url} and this client do not agree on TLS: {what}.",
                "Does the server speak TLS there? If not, its URL begins with http://.",
            )
        return UnreachableError(
            f"{self._url} cannot be reached: {what} ({self._tried()}).",
            "Is the server running there? 'edgecnn serve MODEL' starts one.",
        )

    def _tried(self) -> str:
        return f"{self.made} attempt{'s' if self.made > 1 else ''}"


def _of_tls(error: BaseException | None) -> ssl.SSLError | None:
    """The fault of TLS that is behind it, if one is; httpx tells that only by what its error came from."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _retry_after_s(outcome: Outcome) -> float | None:
    return read_retry_after(outcome.headers.get("retry-after")) if isinstance(outcome, Answer) else None


def _said(answer: Answer) -> str:
    """The sentence of an error answer, or how its body begins."""
    try:
        said = msgspec.json.decode(answer.body)["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError):
        said = answer.body[:200].decode(errors="replace") or "nothing else"
    return str(said)

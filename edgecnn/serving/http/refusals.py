"""Refusals that only HTTP itself knows."""

from __future__ import annotations

from edgecnn.serving.faults import BadRequestError, RequestError

__all__ = ["ExpectationError", "HeadTooLargeError", "VersionError", "malformed"]


class ExpectationError(RequestError):
    """``Expect`` names something other than 100-continue."""

    status, reason = 417, "expectation"


class HeadTooLargeError(RequestError):
    """The request line and the header fields are above the limit."""

    status, reason = 431, "too_large"


class VersionError(RequestError):
    """A version of HTTP that is not spoken here."""

    status, reason = 505, "version"


def malformed(fault: str) -> BadRequestError:
    """What is answered to a request that breaks the rules of framing.

    Args:
        fault: what is wrong, a clause that goes on after "The request" and has no full stop.
    """
    return BadRequestError(f"The request {fault}.", "Send HTTP/1.1 as RFC 9112 defines it.")

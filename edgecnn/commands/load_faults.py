"""What a client's errors advise, in options of ``edgecnn load`` instead of arguments in Python."""

from __future__ import annotations

from edgecnn.client import ClientError, GaveUpError, RefusedError, TimedOutError, UntrustedError

__all__ = ["with_options"]


def with_options(error: ClientError, *, model: str | None) -> ClientError:
    """The same problem, and what to do about it on the command line.

    Args:
        error: of asking the server what its model takes.
        model: that was named; None where the server was asked for its only one.
    """
    return ClientError(error.problem, _remedy(error, model))


def _remedy(error: ClientError, model: str | None) -> str:
    match error:
        case UntrustedError():
            return (
                "Give --ca FILE, the authority that the certificate is from or the certificate itself, and a "
                "host that it names in the URL; or --no-verify to trust anybody."
            )
        case TimedOutError():
            return "Is the server overloaded already? Try again when it answers."
        case GaveUpError():
            return "Try again when the server is ready: GET /v2/health/ready tells."
        case RefusedError(status=401):
            return "Give --api-key-file FILE, with the key that whoever runs the server says."
        case RefusedError(status=404) if model is None:
            return "Is this the right server? One without an index of its models needs --model NAME."
        case RefusedError(status=404):
            return "Give a name that it has with --model, or leave it out if there is only one."
        case _:
            return error.remedy

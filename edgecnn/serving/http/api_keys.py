"""API keys: who may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgecnn.errors import UsageError
from edgecnn.serving.faults import UnauthorizedError

__all__ = ["ApiKeys", "read_api_keys"]


class ApiKeys:
    """The keys that a server takes, compared in a time that does not depend on them."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def check(self, headers: Mapping[str, str]) -> None:
        """Look for a key in ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.

        Raises:
            UnauthorizedError: there is none, or it is not one of these.
        """
        key = _presented(headers)
        if key is None:
            raise UnauthorizedError(
                "The request carries no API key.", "Send Authorization: Bearer KEY, or X-API-Key: KEY."
            )
        if not self.holds(key):
            raise UnauthorizedError("The API key is not one that this server takes.", "Send another key.")

    def holds(self, key: str) -> bool:
        """Whether ``key`` is one of these."""
        digest = _digest(key)
        # All of them, each by its digest: neither which one fits nor how long it is shows in the time.
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def read_api_keys(path: Path) -> ApiKeys:
    """Read one key a line; empty lines and those that begin with "#" are left out.

    Raises:
        UsageError: the file cannot be read, or holds no key, or one that no header can carry.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The API keys cannot be read: {error}.", "Name a readable text file.") from error
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise UsageError(
            f"{path} holds no API key.", "Write one key a line, or start the server without the file."
        )
    for number, key in enumerate(keys, 1):
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise UsageError(
                f"Key {number} of {path} has a space or a character outside ASCII.",
                "Use letters, digits and marks only; for example: openssl rand -hex 32",
            )
    return ApiKeys(keys)


def _presented(headers: Mapping[str, str]) -> str | None:
    key = headers.get("x-api-key")
    if key is not None:
        return key
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()

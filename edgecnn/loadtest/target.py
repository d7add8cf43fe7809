"""Where a load goes."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from edgecnn.errors import UsageError

__all__ = ["Target", "parse_target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server.

    Attributes:
        host: name or address.
        port: of TCP.
        tls: whether to speak HTTPS.
        base: path that all routes begin with; empty, or "/..." without a slash at its end.
    """

    host: str
    port: int
    tls: bool = False
    base: str = ""

    @property
    def authority(self) -> str:
        """The Host field of a request."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http{'s' * self.tls}://{self.authority}{self.base}"

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, for sure."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def context(self, *, verify: bool = True, ca: Path | None = None) -> ssl.SSLContext | None:
        """For the connection; None without TLS.

        Args:
            verify: whether the server's certificate is checked.
            ca: PEM with the authorities to trust instead of the system's.

        Raises:
            UsageError: ``ca`` cannot be read, or holds no certificate.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=ca)
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(
                f"{ca} holds no certificate that can be read: {error.strerror or error}.",
                "Name a file in PEM form, which begins with -----BEGIN CERTIFICATE-----.",
            ) from error
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def parse_target(url: str) -> Target:
    """Read "http://127.0.0.1:8000".

    Raises:
        UsageError: it is no such URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _no_url(url) from error
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.username is not None:
        raise _no_url(url)
    tls = parts.scheme == "https"
    return Target(host=host, port=port or (443 if tls else 80), tls=tls, base=parts.path.rstrip("/"))


def _no_url(url: str) -> UsageError:
    return UsageError(f"{url!r} is no URL of a server.", "Write it as http://127.0.0.1:8000.")

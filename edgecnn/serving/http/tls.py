"""TLS of the server, from a certificate and its key."""

from __future__ import annotations

import ssl
from pathlib import Path

from edgecnn.errors import UsageError

__all__ = ["server_tls"]


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context for TLS 1.2 and above, HTTP/1.1.

    Args:
        certificate: PEM; the server's own first, then those that lead to the root.
        key: PEM, without a passphrase.

    Raises:
        UsageError: a file is missing or unreadable, or they do not belong together.
    """
    for file, what in ((certificate, "certificate"), (key, "key")):
        if not file.is_file():
            raise UsageError(
                f"The TLS {what} {file} is no file.",
                "Name a PEM file, or leave TLS out: both options go together.",
            )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(
                f"The TLS key {key} does not belong to the certificate {certificate}.",
                "Name the key that does.",
            ) from error
        reason = f" ({error.reason})" if error.reason else ""
        raise UsageError(
            f"The TLS certificate {certificate} or its key {key} is no readable PEM{reason}.",
            "Give PEM files, the key without a passphrase: openssl pkey -in KEY -out PLAIN",
        ) from error
    except OSError as error:
        raise UsageError(
            f"TLS files cannot be read: {error}.", "Make them readable to the server."
        ) from error
    return context


def _no_passphrase() -> str:
    """Asked for when the key is encrypted: without it OpenSSL would ask at the terminal."""
    return ""

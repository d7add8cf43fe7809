"""Where the server is and how it is spoken to: what both clients are made of."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

import httpx

from edgecnn.client.calls import Answer, Call
from edgecnn.client.retries import RetryPolicy
from edgecnn.errors import UsageError

__all__ = ["ConnectionSettings", "answer_of", "request_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """A server, and how to speak to it.

    Attributes:
        url: "http://127.0.0.1:8000", with a path where the server is behind one.
        api_key: sent as a bearer token; None for none.
        verify: whether the certificate is checked, or a context with the authorities to trust.
        timeout_s: of one attempt, for each of connecting, sending and waiting for the next bytes.
        retry: how persistent.
        connections: that are kept open at most.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    verify: bool | ssl.SSLContext = True
    timeout_s: float = 30.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    connections: int = 100

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise _no_url(self.url) from error
        if url.scheme not in {"http", "https"} or not url.host:
            raise _no_url(self.url)

    def headers(self) -> dict[str, str]:
        """Of every request."""
        return {} if self.api_key is None else {"authorization": f"Bearer {self.api_key.strip()}"}

    def limits(self) -> httpx.Limits:
        """Of the pool of connections."""
        return httpx.Limits(max_connections=self.connections, max_keepalive_connections=self.connections)


def request_of(
    call: Call[Any], client: httpx.Client | httpx.AsyncClient, settings: ConnectionSettings, left_s: float
) -> httpx.Request:
    """The request of one attempt, which takes no longer than what is left of the whole."""
    return client.build_request(
        call.method,
        settings.url.rstrip("/") + call.path,
        params=call.query or None,
        headers=call.headers,
        content=call.content,
        files=list(call.parts) or None,
        timeout=min(settings.timeout_s, left_s),
    )


def answer_of(response: httpx.Response, body: bytes) -> Answer:
    """Without httpx."""
    return Answer(response.status_code, dict(response.headers), body)


def _no_url(url: str) -> UsageError:
    return UsageError(f"{url!r} is no URL of a server.", "Write it as http://127.0.0.1:8000.")

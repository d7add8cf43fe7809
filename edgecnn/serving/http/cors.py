"""Cross-origin requests: which pages of other servers a browser lets ask this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgecnn.errors import UsageError
from edgecnn.serving.http.head import Head
from edgecnn.serving.http.message import Headers

__all__ = ["Cors"]

_EXPOSED: Final = "inference-header-content-length, retry-after, traceparent, x-request-id"


@dataclass(frozen=True, slots=True)
class Cors:
    """Allowed origins. Without any, no header is sent and browsers refuse, which is the default.

    Attributes:
        origins: such as "https://example.org", or "*" for all.
        max_age_s: how long a browser may keep the answer to its preflight.
    """

    origins: tuple[str, ...] = ()
    max_age_s: int = 600

    def __post_init__(self) -> None:
        for origin in self.origins:
            if origin != "*" and not origin.startswith(("http://", "https://")):
                raise UsageError(
                    f"The allowed origin {origin!r} is none.", 'Give "https://host[:port]", or "*" for all.'
                )

    def is_preflight(self, head: Head) -> bool:
        """Whether a browser asks for leave before the request itself."""
        return (
            head.method == "OPTIONS"
            and "access-control-request-method" in head.headers
            and bool(self._allowed(head))
        )

    def preflight_headers(self, head: Head, methods: tuple[str, ...]) -> Headers:
        """What :meth:`headers` does not say yet: that these methods and the asked-for fields are allowed."""
        asked = head.headers.get("access-control-request-headers", "")
        return (
            ("access-control-allow-methods", ", ".join(methods)),
            *((("access-control-allow-headers", asked),) if asked else ()),
            ("access-control-max-age", str(self.max_age_s)),
        )

    def headers(self, head: Head) -> Headers:
        """What every answer to ``head`` says, refusals too: a page shall be able to read them."""
        if not self.origins:
            return ()
        origin = self._allowed(head)
        if origin is None:
            return (("vary", "origin"),)
        return (
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", _EXPOSED),
            ("vary", "origin"),
        )

    def _allowed(self, head: Head) -> str | None:
        origin = head.headers.get("origin")
        if origin is None:
            return None
        if origin in self.origins:
            return origin
        return "*" if "*" in self.origins else None

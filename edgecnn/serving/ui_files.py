"""The files of the page and of the documentation: read once, with the head that a careful server sends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["CONTENT_SECURITY_POLICY", "PAGE_HEADERS", "UI_FILES", "UiFile", "entity_tag", "ui_file"]

#: What the pages may load: their own files; pictures also from memory, for previews. Trusted types make
#: the browser refuse every assignment that would parse text as markup (W3C, Trusted Types).
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

#: The names are not versioned, so a browser keeps a file but asks each time whether it is still the one.
PAGE_HEADERS = (
    ("cache-control", "no-cache"),
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(self), microphone=(), geolocation=()"),
)

_HTML = "text/html; charset=utf-8"
_CSS = "text/css; charset=utf-8"
_SCRIPT = "text/javascript; charset=utf-8"

#: name -> (folder in this package, content type). What is not here is not served.
UI_FILES: Mapping[str, tuple[str, str]] = {
    "index.html": ("ui", _HTML),
    "style.css": ("ui", _CSS),
    "favicon.svg": ("ui", "image/svg+xml"),
    "app.js": ("ui", _SCRIPT),
    "answer.js": ("ui", _SCRIPT),
    "api.js": ("ui", _SCRIPT),
    "camera.js": ("ui", _SCRIPT),
    "dom.js": ("ui", _SCRIPT),
    "format.js": ("ui", _SCRIPT),
    "intake.js": ("ui", _SCRIPT),
    "live.js": ("ui", _SCRIPT),
    "docs.html": ("docs_page", _HTML),
    "docs.css": ("docs_page", _CSS),
    "docs.js": ("docs_page", _SCRIPT),
    "schema.js": ("docs_page", _SCRIPT),
}


@dataclass(frozen=True, slots=True)
class UiFile:
    """One file as it is sent.

    Attributes:
        content: its bytes.
        content_type: with the character set.
        etag: a strong one, quoted (RFC 9110, section 8.8.3).
    """

    content: bytes
    content_type: str
    etag: str

    def matches(self, if_none_match: str | None) -> bool:
        """Whether the client's ``If-None-Match`` names this content (RFC 9110, section 13.1.2)."""
        named = (each.strip().removeprefix("W/") for each in (if_none_match or "").split(","))
        return any(each in (self.etag, "*") for each in named)


def ui_file(name: str) -> UiFile | None:
    """The file ``name`` of :data:`UI_FILES`, or None for any other name."""
    return _read(name) if name in UI_FILES else None  # names of strangers never fill the cache


@cache
def _read(name: str) -> UiFile:
    folder, content_type = UI_FILES[name]
    content = (files("edgecnn.serving") / folder / name).read_bytes()
    return UiFile(content, content_type, entity_tag(content))


def entity_tag(content: bytes) -> str:
    """A strong validator of ``content``, quoted."""
    return f'"{hashlib.sha256(content).hexdigest()[:24]}"'

"""The page's files: what is served, with which head, and that none needs what the policy forbids."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import msgspec
import pytest

from edgecnn.serving.faults import NotFoundError
from edgecnn.serving.http.message import Handler, Request, Response
from edgecnn.serving.routes_page import add_page_routes
from edgecnn.serving.ui_files import CONTENT_SECURITY_POLICY, UI_FILES, ui_file


class _Routes:
    """Takes routes as a Router does."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def route(self, method: str, pattern: str, handler: Handler, *, public: bool) -> None:
        assert method == "GET"
        assert public
        self.handlers[pattern] = handler


def _ask(pattern: str, headers: Mapping[str, str] | None = None, **parameters: str) -> Response:
    routes = _Routes()
    add_page_routes(routes, lambda: {"openapi": "3.1.0"})  # type: ignore[arg-type]
    request = Request("GET", pattern, {}, headers or {}, b"", "127.0.0.1:1", "1", None, 0.0, parameters)

    async def answer() -> Response:
        return await routes.handlers[pattern](request)

    return asyncio.run(answer())


def _body(response: Response) -> bytes:
    return b"".join(map(bytes, response.pieces))


@pytest.mark.parametrize(
    ("pattern", "content_type", "start"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/docs", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/favicon.ico", "image/svg+xml", b"<svg "),
        ("/openapi.json", "application/json", b'{"openapi"'),
    ],
)
def test_pages_are_served_with_a_strict_head(pattern: str, content_type: str, start: bytes) -> None:
    response = _ask(pattern)
    headers = dict(response.headers)
    assert (response.status, response.content_type) == (200, content_type)
    assert _body(response).startswith(start)
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"


def test_an_unchanged_file_is_not_sent_again() -> None:
    etag = dict(_ask("/").headers)["etag"]
    for named in (etag, f'"other", W/{etag}', "*"):
        response = _ask("/", {"if-none-match": named})
        assert (response.status, _body(response)) == (304, b"")
        assert dict(response.headers)["etag"] == etag
    assert _ask("/", {"if-none-match": '"other"'}).status == 200
    assert dict(_ask("/docs").headers)["etag"] != etag


@pytest.mark.parametrize(
    "name", ["", "x.js", "../ui_files.py", "ui_files.py", "..", "/etc/passwd", "index.html\0"]
)
def test_nothing_else_is_served(name: str) -> None:
    with pytest.raises(NotFoundError, match="There is no file"):
        _ask("/ui/{file}", file=name)


def test_the_table_is_what_is_in_the_folders() -> None:
    package = files("edgecnn.serving")
    there = {file.name for folder in ("ui", "docs_page") for file in (package / folder).iterdir()}
    assert there == set(UI_FILES)
    assert _ask("/ui/{file}", file="app.js").content_type == "text/javascript; charset=utf-8"


def _text(name: str) -> str:
    file = ui_file(name)
    assert file is not None
    return file.content.decode()


@pytest.mark.parametrize("name", [name for name in UI_FILES if name.endswith(".html")])
def test_pages_hold_no_script_and_no_style(name: str) -> None:
    text = _text(name)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    for address in re.findall(r'(?:src|href)="([^"]+)"', text):
        known = address.removeprefix("ui/") in UI_FILES
        assert known or address.startswith("#") or address in {"./", "docs", "openapi.json", "metrics"}


@pytest.mark.parametrize("name", [name for name in UI_FILES if name.endswith(".js")])
def test_scripts_parse_no_markup_and_import_only_what_is_served(name: str) -> None:
    text = _text(name)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
    assert "localStorage" not in text
    for imported in re.findall(r'from "([^"]+)"', text):
        assert imported.removeprefix("./") in UI_FILES


@pytest.mark.parametrize("name", list(UI_FILES))
def test_no_other_host_is_named(name: str) -> None:
    hosts = set(re.findall(r"https?://([^/\"'\s]+)", _text(name)))
    assert hosts <= {"www.w3.org", "127.0.0.1:8000"}  # the namespace of SVG; an example


def _luminance(colour: str) -> float:
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


_TEXTS = (("ink", "paper"), ("ink", "raised"), ("faint", "paper"), ("faint", "raised"), ("accent", "raised"))
_MORE_TEXTS = (
    ("on-accent", "accent"),
    ("bad", "raised"),
    ("ink", "bad-paper"),
    ("ink", "track"),
    ("accent", "paper"),
)
_GRAPHICS = ("accent", "upload", "decode", "queue", "compute", "rest", "good", "warn", "bad")


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_apart(scheme: int) -> None:
    blocks = re.findall(r":root {(.*?)}", _text("style.css"), re.DOTALL)
    colours: dict[str, Any] = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[scheme]))
    for text, paper in (*_TEXTS, *_MORE_TEXTS):
        assert _contrast(colours[text], colours[paper]) >= 4.5, (text, paper)
    for graphic in _GRAPHICS:
        assert _contrast(colours[graphic], colours["raised"]) >= 3, graphic


def test_the_document_is_encoded_as_it_is_now() -> None:
    assert msgspec.json.decode(_body(_ask("/openapi.json"))) == {"openapi": "3.1.0"}

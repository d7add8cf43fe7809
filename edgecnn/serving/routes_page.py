"""The page, its files, and the documentation, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from edgecnn.serving.faults import NotFoundError
from edgecnn.serving.http.message import Handler, Request, Response
from edgecnn.serving.http.routing import Router
from edgecnn.serving.ui_files import PAGE_HEADERS, UiFile, entity_tag, ui_file

__all__ = ["add_page_routes"]


def add_page_routes(router: Router, document: Callable[[], Mapping[str, Any]]) -> None:
    """Make ``router`` answer the page's paths, none of which needs an API key: they hold nothing of a model.

    Args:
        router: gets the routes.
        document: the OpenAPI document as it is now; its examples name the models that are loaded.
    """

    async def named(request: Request) -> Response:
        return _file(request, request.parameters["file"])

    async def openapi(request: Request) -> Response:
        content = msgspec.json.encode(document())
        return _answer(request, UiFile(content, "application/json", entity_tag(content)))

    router.route("GET", "/ui/{file}", named, public=True)
    router.route("GET", "/openapi.json", openapi, public=True)
    for path, name in (("/", "index.html"), ("/docs", "docs.html"), ("/favicon.ico", "favicon.svg")):
        router.route("GET", path, _always(name), public=True)


def _always(name: str) -> Handler:
    async def handler(request: Request) -> Response:
        return _file(request, name)

    return handler


def _file(request: Request, name: str) -> Response:
    found = ui_file(name)
    if found is None:
        raise NotFoundError(
            f"There is no file {name!r} here.", "The page is at /, the documentation at /docs."
        )
    return _answer(request, found)


def _answer(request: Request, file: UiFile) -> Response:
    headers = (("etag", file.etag), *PAGE_HEADERS)
    if file.matches(request.headers.get("if-none-match")):
        return Response(304, b"", file.content_type, headers)
    return Response(200, file.content, file.content_type, headers)

"""Which handler answers a path, and what must hold before its body is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import unquote_to_bytes

from edgecnn.serving.faults import MethodNotAllowedError, NotFoundError
from edgecnn.serving.http.api_keys import ApiKeys
from edgecnn.serving.http.cors import Cors
from edgecnn.serving.http.head import Head
from edgecnn.serving.http.message import Handler, Headers, Request, Response
from edgecnn.serving.http.refusals import malformed

__all__ = ["Admission", "Route", "Router", "split_path"]

#: Methods whose body has no meaning (RFC 9110, section 9.3): none is read.
_BODILESS: Final = frozenset(("GET", "HEAD", "OPTIONS"))


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Attributes:
        pattern: the path as it was given, such as "/v2/models/{model}".
        handler: what answers.
        names: of its parameters, in their order.
        max_body: bytes that a body may have; None leaves it to the server.
        public: needs no API key.
    """

    pattern: str
    handler: Handler
    names: tuple[str, ...]
    max_body: int | None
    public: bool


@dataclass(slots=True)
class Admission:
    """What a head was admitted to.

    Attributes:
        handler: what answers.
        pattern: of the route.
        parameters: percent-decoded.
        max_body: bytes that the body may have; None leaves it to the server.
    """

    handler: Handler
    pattern: str
    parameters: Mapping[str, str]
    max_body: int | None


@dataclass(slots=True)
class _Node:
    """One segment of the paths that are known."""

    literals: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    routes: dict[str, Route] = field(default_factory=dict)

    def methods(self) -> tuple[str, ...]:
        """What may be asked here, sorted."""
        found = {*self.routes, "OPTIONS"} | ({"HEAD"} if "GET" in self.routes else set())
        return tuple(sorted(found))


class Router:
    """The table of routes.

    Args:
        keys: needed for every route that is not public; None asks for none.
        cors: allowed origins.
    """

    def __init__(self, keys: ApiKeys | None = None, cors: Cors | None = None) -> None:
        self._root = _Node()
        self._keys = keys
        self._cors = cors or Cors()

    def route(
        self,
        method: str,
        pattern: str,
        handler: Handler,
        *,
        max_body: int | None = None,
        public: bool = False,
    ) -> None:
        """Let ``handler`` answer ``method`` on ``pattern``; GET answers HEAD as well.

        Args:
            method: in capitals.
            pattern: begins with "/"; a segment ``{name}`` takes any text but none.
            handler: what answers.
            max_body: bytes that a body may have; None leaves it to the server (0 for GET).
            public: needs no API key.

        Raises:
            ValueError: the route is there already, or the pattern does not begin with "/".
        """
        if not pattern.startswith("/"):
            raise ValueError(f"the pattern {pattern!r} does not begin with a slash")
        node, names = self._root, []
        for segment in pattern[1:].split("/"):
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        if method in node.routes:
            raise ValueError(f"{method} {pattern} has a handler already")
        if max_body is None and method in _BODILESS:
            max_body = 0
        node.routes[method] = Route(pattern, handler, tuple(names), max_body, public)

    def admit(self, head: Head) -> Admission:
        """Decide, before its body is read, whether and by whom a request is answered.

        Raises:
            RequestError: unknown path, method that it does not take, or no valid API key.
        """
        segments = split_path(head.path)
        found = _find(self._root, segments, 0, [])
        if found is None:
            raise NotFoundError(f"There is nothing at {head.path[:200]}.", self._hint(head.path))
        node, values = found
        if self._cors.is_preflight(head):
            return _answering(204, self._cors.preflight_headers(head, node.methods()))
        method = "GET" if head.method == "HEAD" else head.method
        route = node.routes.get(method)
        if route is None and method != "OPTIONS":
            raise MethodNotAllowedError(head.method, head.path, node.methods())
        if self._keys is not None and not (route is not None and route.public):
            self._keys.check(head.headers)
        if route is None:
            return _answering(204, (("allow", ", ".join(node.methods())),))
        parameters = dict(zip(route.names, values, strict=True))
        return Admission(route.handler, route.pattern, parameters, route.max_body)

    def headers(self, head: Head) -> Headers:
        """What every answer to ``head`` says besides, whoever answers."""
        return self._cors.headers(head)

    def _hint(self, path: str) -> str:
        """Where to look instead of a path that is not known."""
        shorter = path.rstrip("/") or "/"
        if shorter != path and _find(self._root, split_path(shorter), 0, []) is not None:
            return f"There is {shorter[:200]}, without a slash at its end."
        return "See /docs for what there is."


def split_path(path: str) -> list[str]:
    """The segments of a path as it was sent, each percent-decoded: "%2F" stays inside its segment.

    Raises:
        BadRequestError: a malformed escape, no UTF-8, a control character, or "." or ".." as a segment.
    """
    segments = path[1:].split("/")
    if "%" in path:
        segments = [_decoded(segment) for segment in segments]
    if "." in segments or ".." in segments:
        raise malformed('has "." or ".." as a segment of its path')
    return segments


def _decoded(segment: str) -> str:
    for rest in segment.split("%")[1:]:
        if len(rest) < 2 or not all(digit in "0123456789abcdefABCDEF" for digit in rest[:2]):
            raise malformed('has a "%" in its path without two hexadecimal digits after it')
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed("has a path that is not UTF-8") from error
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise malformed("has a control character in its path")
    return text


def _find(node: _Node, segments: list[str], depth: int, values: list[str]) -> tuple[_Node, list[str]] | None:
    """The node of a path that has routes; a literal segment is preferred to a parameter."""
    if depth == len(segments):
        return (node, values) if node.routes else None
    segment = segments[depth]
    literal = node.literals.get(segment)
    if literal is not None:
        found = _find(literal, segments, depth + 1, values)
        if found is not None:
            return found
    if node.parameter is None or not segment:
        return None
    return _find(node.parameter, segments, depth + 1, [*values, segment])


def _answering(status: int, headers: Headers) -> Admission:
    return Admission(partial(_fixed, Response(status, headers=headers)), "", {}, 0)


async def _fixed(response: Response, request: Request) -> Response:
    return response

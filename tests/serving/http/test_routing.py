"""Routes, API keys and cross-origin requests."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgecnn.errors import UsageError
from edgecnn.serving.faults import MethodNotAllowedError, NotFoundError
from edgecnn.serving.http.api_keys import ApiKeys, read_api_keys
from edgecnn.serving.http.cors import Cors
from edgecnn.serving.http.head import Head
from edgecnn.serving.http.message import Request, Response
from edgecnn.serving.http.routing import Router

if TYPE_CHECKING:
    from tests.serving.http.conftest import Staging


async def nothing(request: Request) -> Response:
    return Response(204)


def head(method: str, path: str, headers: dict[str, str] | None = None) -> Head:
    return Head(method, path, "", headers or {}, None, False, True, False)


def router() -> Router:
    made = Router()
    for pattern in (
        "/",
        "/v2/models/stats",
        "/v2/models/{model}",
        "/v2/models/{model}/versions/{version}/infer",
    ):
        made.route("GET", pattern, nothing)
    made.route("POST", "/v2/models/{model}", nothing, max_body=7)
    return made


@pytest.mark.parametrize(
    ("path", "pattern", "parameters"),
    [
        ("/", "/", {}),
        ("/v2/models/stats", "/v2/models/stats", {}),
        ("/v2/models/a%2Fb", "/v2/models/{model}", {"model": "a/b"}),
        ("/%76%32/models/x", "/v2/models/{model}", {"model": "x"}),
        (
            "/v2/models/stats/versions/1/infer",
            "/v2/models/{model}/versions/{version}/infer",
            {"model": "stats", "version": "1"},
        ),
    ],
)
def test_a_path_finds_its_route(path: str, pattern: str, parameters: dict[str, str]) -> None:
    admission = router().admit(head("GET", path))
    assert (admission.pattern, admission.parameters, admission.max_body) == (pattern, parameters, 0)


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/models/", "/v2/models/x/", "/v2/models/x/versions/1", "//", "/v2%2Fmodels"]
)
def test_other_paths_find_nothing(path: str) -> None:
    with pytest.raises(NotFoundError):
        router().admit(head("GET", path))


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("/v2/models/x/", "There is /v2/models/x, without a slash at its end."),
        ("//", "There is /, without a slash at its end."),
        ("/v2/models/", "See /docs for what there is."),
        ("/v2", "See /docs for what there is."),
    ],
)
def test_a_slash_too_many_is_told(path: str, remedy: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        router().admit(head("GET", path))
    assert caught.value.remedy == remedy


def test_a_method_that_a_path_does_not_take_names_those_that_it_does() -> None:
    with pytest.raises(MethodNotAllowedError) as caught:
        router().admit(head("DELETE", "/v2/models/x"))
    assert caught.value.headers() == (("allow", "GET, HEAD, OPTIONS, POST"),)
    assert router().admit(head("POST", "/v2/models/x")).max_body == 7
    assert router().admit(head("HEAD", "/")).handler is nothing


def test_a_route_is_given_once() -> None:
    made = router()
    with pytest.raises(ValueError, match="has a handler already"):
        made.route("GET", "/v2/models/{name}", nothing)
    with pytest.raises(ValueError, match="slash"):
        made.route("GET", "v2", nothing)


def test_keys_are_asked_for_before_the_body_is_read(staged: Staging) -> None:
    async def main() -> None:
        async with staged(keys=("first", "second")) as stage:
            start = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            refused = await stage.ask(start + b"\r\n")
            assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
            for field in (b"Authorization: Bearer firs", b"Authorization: Basic first", b"X-API-Key: third"):
                assert (await stage.ask(start + field + b"\r\n\r\n")).status == 401
            for field in (b"Authorization: bearer first", b"X-API-Key: second"):
                assert (await stage.ask(start + field + b"\r\n\r\nhello")).body == b"hello"
            assert (await stage.ask(b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200  # public
            assert (await stage.ask(b"OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n")).status == 401

    asyncio.run(main())


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\n\n  abc  \nd-e_f\n")
    keys = read_api_keys(file)
    assert [keys.holds(key) for key in ("abc", "d-e_f", "# ours", "", "ab")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    for content, words in (("# none\n", "no API key"), ("a b\n", "Key 1"), ("ok\nschlüssel\n", "Key 2")):
        file.write_text(content)
        with pytest.raises(UsageError, match=words):
            read_api_keys(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_api_keys(tmp_path / "missing")
    assert not ApiKeys(["abc"]).holds("\udcff")


def test_cross_origin_requests_of_allowed_pages(staged: Staging) -> None:
    async def main() -> None:
        async with staged(keys=("key",), origins=("https://a.example",)) as stage:
            preflight = (
                b"OPTIONS /echo HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n"
                b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-api-key\r\n\r\n"
            )
            allowed = await stage.ask(preflight)
            assert allowed.status == 204
            assert allowed.headers["access-control-allow-origin"] == "https://a.example"
            assert "POST" in allowed.headers["access-control-allow-methods"]
            assert allowed.headers["access-control-allow-headers"] == "x-api-key"
            assert "content-length" not in allowed.headers
            refused = await stage.ask(b"POST /echo HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\r\n")
            assert refused.status == 401
            assert refused.headers["access-control-allow-origin"] == "https://a.example"
            other = await stage.ask(preflight.replace(b"a.example", b"b.example"))
            assert other.status == 401
            assert "access-control-allow-origin" not in other.headers
            assert other.headers["vary"] == "origin"

    asyncio.run(main())


def test_all_origins_may_be_allowed(staged: Staging) -> None:
    async def main() -> None:
        async with staged(origins=("*",)) as stage:
            answer = await stage.ask(b"GET /ok HTTP/1.1\r\nHost: x\r\nOrigin: https://c.example\r\n\r\n")
            assert answer.headers["access-control-allow-origin"] == "*"
            assert json.loads(answer.body)["path"] == "/ok"

    asyncio.run(main())


def test_an_origin_is_a_url() -> None:
    with pytest.raises(UsageError, match=r"example\.org"):
        Cors(("example.org",))

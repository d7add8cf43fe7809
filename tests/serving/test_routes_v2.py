import asyncio
import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest

from edgecnn.serving.content_coding import compress
from edgecnn.serving.faults import (
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    RequestError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from edgecnn.serving.http.head import Head
from edgecnn.serving.http.message import Request, Response
from edgecnn.serving.http.routing import Router
from edgecnn.serving.routes_v2 import add_v2_routes

IMAGE = np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8)
LIMIT = 100_000


def _head(method: str, path: str, headers: dict[str, str]) -> Head:
    return Head(method, path, "", headers, 0, chunked=False, keep_alive=True, expects_continue=False)


def _ask(service: Any, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[Response, Request]:
    """The answer, and the request with its notes for the log."""
    router = Router()
    add_v2_routes(router, service, max_body_bytes=LIMIT)
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def main() -> tuple[Response, Request]:
        admitted = router.admit(_head(method, path, named))
        request = Request(
            method=method,
            path=path,
            query={},
            headers=named,
            body=bytearray(body),
            peer="here",
            id="1",
            traceparent=None,
            received_s=asyncio.get_running_loop().time(),
            parameters=admitted.parameters,
            route=admitted.pattern,
        )
        return await admitted.handler(request), request

    return asyncio.run(main())


def _get(service: Any, path: str) -> Any:
    response, _ = _ask(service, "GET", path)
    assert response.status == 200
    return json.loads(b"".join(map(bytes, response.pieces)))


def _infer(**fields: Any) -> tuple[bytes, dict[str, str]]:
    part: dict[str, Any] = {"name": "image", "shape": [1, 3, 8, 8], "datatype": "FP32"}
    part["parameters"] = {"binary_data_size": IMAGE.nbytes}
    head = json.dumps({"inputs": [part], **fields}).encode()
    return head + IMAGE.tobytes(), {"inference_header_content_length": str(len(head))}


@pytest.mark.parametrize("path", ["/v2/models/tiny/infer", "/v2/models/tiny/versions/1/infer"])
def test_binary_in_and_out(service: Any, path: str) -> None:
    body, headers = _infer(id="mine", parameters={"binary_data_output": True})
    response, request = _ask(service, "POST", path, body, **headers)
    head, tail = response.pieces
    assert dict(response.headers)["inference-header-content-length"] == str(len(head))
    assert response.content_type == "application/octet-stream"
    assert json.loads(bytes(head))["id"] == "mine"
    np.testing.assert_array_equal(np.frombuffer(tail, np.float32), service.served.scores(IMAGE)[0])
    notes = request.served
    assert (notes.model, notes.version, notes.images) == ("tiny", "1", 1)
    assert (notes.queue_ms, notes.compute_ms) == (1.0, 2.0)


def test_json_in_and_out(service: Any) -> None:
    part = {"name": "image", "shape": [2], "datatype": "BYTES", "data": ["AQ==", "Ag=="]}
    response, request = _ask(
        service, "POST", "/v2/models/tiny/infer", json.dumps({"inputs": [part]}).encode()
    )
    answer = json.loads(b"".join(map(bytes, response.pieces)))
    pixels = [np.full((8, 8, 3), value, np.uint8) for value in (1, 2)]
    assert answer["outputs"][0]["shape"] == [2, 10]
    np.testing.assert_allclose(
        np.reshape(answer["outputs"][0]["data"], (2, 10)), service.served.scores(pixels), rtol=1e-6
    )
    assert response.headers == ()
    assert request.served.images == 2


def test_the_timeout_of_a_request_shortens_the_servers(service: Any) -> None:
    for timeout in (500_000, 60_000_000):
        body, headers = _infer(parameters={"timeout": timeout})
        _, request = _ask(service, "POST", "/v2/models/tiny/infer", body, **headers)
        limit_s = service.served.deadlines[-1] - request.received_s
        assert limit_s == pytest.approx(min(timeout / 1e6, 5.0))


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_requests(service: Any, coding: str, pack: Any) -> None:
    body, headers = _infer()
    response, _ = _ask(
        service, "POST", "/v2/models/tiny/infer", pack(body), content_encoding=coding, **headers
    )
    assert response.status == 200


@pytest.mark.parametrize(
    ("body", "coding", "error"),
    [
        (compress(bytes(LIMIT + 1), "gzip"), "gzip", TooLargeError),
        (b"abc", "gzip", BadRequestError),
        (b"abc", "br", UnsupportedMediaTypeError),
    ],
)
def test_compressed_requests_that_are_refused(
    service: Any, body: bytes, coding: str, error: type[RequestError]
) -> None:
    with pytest.raises(error):
        _ask(service, "POST", "/v2/models/tiny/infer", body, content_encoding=coding)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_long_answers_are_compressed_for_who_takes_it(model_of: Any, service: Any, coding: str) -> None:
    service.served = model_of(classes=20_000)
    body, headers = _infer()
    plain, _ = _ask(service, "POST", "/v2/models/tiny/infer", body, **headers)
    packed, _ = _ask(service, "POST", "/v2/models/tiny/infer", body, accept_encoding=coding, **headers)
    assert dict(packed.headers)["content-encoding"] == coding
    unpack = gzip.decompress if coding == "gzip" else zlib.decompress
    assert unpack(b"".join(map(bytes, packed.pieces))) == b"".join(map(bytes, plain.pieces))


def test_health(service: Any) -> None:
    assert _get(service, "/v2/health/live") == {"live": True}
    assert _get(service, "/v2/health/ready") == {"ready": True}
    assert _get(service, "/v2/models/tiny/ready")["ready"] is True
    assert _get(service, "/v2/models/tiny/versions/1/ready")["ready"] is True
    service.is_ready = False
    with pytest.raises(UnavailableError, match="not ready"):
        _ask(service, "GET", "/v2/health/ready")
    with pytest.raises(UnavailableError, match=r"version 3 is UNAVAILABLE \(unloaded\)"):
        _ask(service, "GET", "/v2/models/other/ready")
    with pytest.raises(NotFoundError):
        _ask(service, "GET", "/v2/models/nobody/ready")


def test_documents(service: Any) -> None:
    assert _get(service, "/v2")["name"] == "edgecnn"
    assert _get(service, "/v2/models/tiny")["versions"] == ["1"]
    assert _get(service, "/v2/models/tiny/config")["max_batch_size"] == 4
    for path in ("/v2/models/stats", "/v2/models/tiny/stats", "/v2/models/tiny/versions/1/stats"):
        assert _get(service, path)["model_stats"][0]["inference_count"] == 5


def test_the_repository(service: Any) -> None:
    def post(path: str, body: bytes = b"") -> Any:
        response, _ = _ask(service, "POST", f"/v2/repository/{path}", body)
        return json.loads(b"".join(map(bytes, response.pieces)))

    assert [state["state"] for state in post("index")] == ["READY", "UNAVAILABLE"]
    assert [state["name"] for state in post("index", b'{"ready": true}')] == ["tiny"]
    assert post("models/tiny/load", b"{}") == {}
    assert post("models/tiny/unload", b'{"parameters": {"unload_dependents": false}}') == {}
    assert service.calls == ["load tiny", "unload tiny"]
    with pytest.raises(BadRequestError, match="'config'"):
        post("models/tiny/load", b'{"parameters": {"config": "{}"}}')
    for body in (b"[]", b"{", b'{"ready": 1}', b"\xff", b'{"x":' + b"[" * 60_000):
        with pytest.raises(BadRequestError, match="JSON cannot be used"):
            post("index", body)
    service.control = False
    with pytest.raises(ForbiddenError):
        post("models/tiny/load")

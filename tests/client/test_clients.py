"""Both clients, through one suite: what they send, what they make of answers, when they try again."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from edgecnn.client import (
    AnswerError,
    AsyncClient,
    Client,
    GaveUpError,
    RefusedError,
    RetryPolicy,
    TimedOutError,
    UnreachableError,
    UntrustedError,
)
from edgecnn.errors import ImageError, UsageError

JPEG, PNG = b"\xff\xd8\xff\xe0 a jpeg", b"\x89PNG\r\n\x1a\n a png"

PREDICTIONS = {
    "model": "m",
    "version": "1",
    "predictions": [
        {"image": None, "top": [{"index": 3, "label": "cat", "probability": 0.9}], "error": None}
    ],
    "timings_ms": {"decode": 1.0, "queue": 0, "compute": 4.0, "total": 5.5},
    "something": "new",
}
MODEL = {
    "name": "m",
    "versions": ["1"],
    "platform": "onnx",
    "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 3]}],
    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}],
}
_TIMES = {"count": 2, "ns": 30}
STATISTICS = {
    "model_stats": [
        {
            "name": "m",
            "version": "1",
            "last_inference": 1,
            "inference_count": 4,
            "execution_count": 2,
            "inference_stats": dict.fromkeys(
                ["success", "fail", "queue", "compute_input", "compute_infer", "compute_output"], _TIMES
            ),
            "batch_stats": [{"batch_size": 2, "compute_infer": _TIMES}],
        }
    ]
}

Handler = Callable[[httpx.Request], httpx.Response]


class Blocking:
    """The blocking client behind the interface of this suite."""

    def __init__(self, handler: Handler, pauses: list[float], **options: Any) -> None:
        transport = httpx.MockTransport(handler)
        self._client = Client("http://test:1/base/", transport=transport, sleep=pauses.append, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._client as client:
                return getattr(client, name)(*arguments, **options)

        return call


class Awaiting:
    """The awaiting client, likewise."""

    def __init__(self, handler: Handler, pauses: list[float], **options: Any) -> None:
        self._handler, self._pauses, self._options = handler, pauses, options

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def sleep(seconds: float) -> None:
            self._pauses.append(seconds)

        async def call(*arguments: Any, **options: Any) -> Any:
            transport = httpx.MockTransport(self._handler)
            async with AsyncClient(
                "http://test:1/base/", transport=transport, sleep=sleep, **self._options
            ) as client:
                return await getattr(client, name)(*arguments, **options)

        return lambda *arguments, **options: asyncio.run(call(*arguments, **options))


both = pytest.mark.parametrize("kind", [Blocking, Awaiting])


class Scripted:
    """Answers with one thing after the other, the last one from then on; keeps what was asked."""

    def __init__(self, *outcomes: httpx.Response | Exception) -> None:
        self.asked: list[httpx.Request] = []
        self._outcomes: Sequence[httpx.Response | Exception] = outcomes

    def __call__(self, request: httpx.Request) -> httpx.Response:
        outcome = self._outcomes[min(len(self.asked), len(self._outcomes) - 1)]
        self.asked.append(request)
        if isinstance(outcome, Exception):
            raise outcome
        return httpx.Response(outcome.status_code, headers=outcome.headers, content=outcome.content)


def _ok(document: object) -> httpx.Response:
    return httpx.Response(200, json=document)


def _busy(status: int = 429, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": "The queue is full. Later."}, headers=headers)


@both
def test_one_image_is_the_body(kind: type[Any], tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(JPEG)
    server = Scripted(_ok(PREDICTIONS))
    answer = kind(server, [], api_key="secret").predict(tmp_path / "cat.jpg", "a/b", top_k=3)
    (request,) = server.asked
    assert (request.method, str(request.url)) == ("POST", "http://test:1/base/v1/predict/a%2Fb?top_k=3")
    assert request.headers["content-type"] == "image/jpeg"
    assert request.headers["authorization"] == "Bearer secret"
    assert request.content == JPEG
    assert answer.predictions[0].top[0].label == "cat"
    assert answer.timings_ms.total == 5.5


@both
def test_several_images_are_a_form_in_their_order(kind: type[Any], tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    server = Scripted(_busy(), _ok(PREDICTIONS))
    kind(server, []).predict([JPEG, str(tmp_path / "cat.png")])
    assert len(server.asked) == 2
    for request in server.asked:
        assert request.url.path == "/base/v1/predict"
        assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
        first, second = request.content.index(JPEG), request.content.index(PNG)
        assert first < second
        assert b'name="image"; filename="image-1"\r\nContent-Type: image/jpeg' in request.content
        assert b'name="image"; filename="cat.png"\r\nContent-Type: image/png' in request.content


@both
def test_images_that_cannot_be_sent_are_told_before_anything_is(kind: type[Any], tmp_path: Path) -> None:
    server = Scripted(_ok(PREDICTIONS))
    with pytest.raises(ImageError, match="nowhere"):
        kind(server, []).predict(tmp_path / "nowhere.jpg")
    with pytest.raises(UsageError, match="no image"):
        kind(server, []).predict([])
    with pytest.raises(UsageError, match="top_k"):
        kind(server, []).predict(JPEG, top_k=0)
    assert not server.asked


def _infer(request: httpx.Request) -> httpx.Response:
    """Twice the first two columns."""
    if request.method == "GET":
        return _ok(MODEL)
    length = int(request.headers["inference-header-content-length"])
    (tensor,) = json.loads(request.content[:length])["inputs"]
    assert tensor["name"] == "input"
    array = np.frombuffer(request.content[length:], "<f4").reshape(tensor["shape"])
    scores = np.ascontiguousarray(2 * array[:, :2])
    output = {
        "name": "scores",
        "datatype": "FP32",
        "shape": scores.shape,
        "parameters": {"binary_data_size": scores.nbytes},
    }
    header = json.dumps({"model_name": "m", "model_version": "1", "outputs": [output]}).encode()
    field = {"inference-header-content-length": str(len(header))}
    return httpx.Response(200, headers=field, content=header + scores.tobytes())


@both
def test_a_tensor_travels_as_bytes(kind: type[Any]) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = kind(_infer, []).infer(array, "m", "1")
    np.testing.assert_array_equal(found.scores, 2 * array[:, :2])
    assert (found.model, found.version, found.output) == ("m", "1", "scores")


def test_metadata_is_asked_for_once_and_anew_after_a_refusal() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(400, json={"error": "No."}) if len(asked) == 3 else _infer(request)

    array = np.zeros((1, 3), np.float32)
    with Client("http://test", transport=httpx.MockTransport(handler)) as client:
        client.infer(array, "m")
        with pytest.raises(RefusedError):
            client.infer(array, "m")
        client.infer(array, "m")
    assert asked == ["GET", "POST", "POST", "GET", "POST"]


@both
def test_what_the_server_has_and_did(kind: type[Any]) -> None:
    index = Scripted(_ok([{"name": "m", "version": "1", "state": "READY"}, {"name": "n"}]))
    first, second = kind(index, []).models()
    assert (first.name, first.version, first.state) == ("m", "1", "READY")
    assert second.state == ""
    assert kind(Scripted(_ok(MODEL)), []).metadata("m").inputs[0].shape == (-1, 3)
    server = {"name": "edgecnn", "version": "0", "extensions": ["statistics"]}
    assert kind(Scripted(_ok(server)), []).metadata().extensions == ("statistics",)
    every = Scripted(_ok(STATISTICS))
    (found,) = kind(every, []).statistics()
    assert (found.inference_count, found.batch_stats[0].batch_size) == (4, 2)
    kind(every, []).statistics("m", "1")
    assert [request.url.path for request in every.asked] == [
        "/base/v2/models/stats",
        "/base/v2/models/m/versions/1/stats",
    ]


@both
@pytest.mark.parametrize(
    ("outcome", "ready"),
    [
        (httpx.Response(200), True),
        (httpx.Response(503), False),
        (httpx.Response(404), False),
        (httpx.ConnectError("refused"), False),
    ],
)
def test_ready_asks_once(kind: type[Any], outcome: httpx.Response | Exception, ready: bool) -> None:
    server = Scripted(outcome)
    assert kind(server, []).ready() is ready
    assert len(server.asked) == 1


@both
@pytest.mark.parametrize(
    "outcome",
    [
        _busy(429),
        _busy(503),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("closed"),
        httpx.ReadError("reset"),
    ],
)
def test_what_passes_is_tried_again(kind: type[Any], outcome: httpx.Response | Exception) -> None:
    server, pauses = Scripted(outcome, outcome, _ok(PREDICTIONS)), list[float]()
    policy = RetryPolicy(first_pause_s=0.5)
    assert kind(server, pauses, retry=policy).predict(JPEG).model == "m"
    assert len(server.asked) == 3
    assert 0 <= pauses[0] <= 0.5
    assert 0 <= pauses[1] <= 1.0


@both
def test_retry_after_is_honoured(kind: type[Any]) -> None:
    pauses: list[float] = []
    kind(Scripted(_busy(429, **{"retry-after": "3"}), _ok(PREDICTIONS)), pauses).predict(JPEG)
    (pause,) = pauses
    assert 3 <= pause <= 3.1


@both
def test_it_gives_up_after_the_attempts_and_says_so(kind: type[Any]) -> None:
    server, pauses = Scripted(_busy()), list[float]()
    with pytest.raises(
        GaveUpError, match=r"429 to POST /v1/predict: The queue is full.*3 attempts"
    ) as caught:
        kind(server, pauses, retry=RetryPolicy(attempts=3)).predict(JPEG)
    assert (len(server.asked), len(pauses), caught.value.attempts, caught.value.status) == (3, 2, 3, 429)


@both
def test_it_gives_up_at_once_where_the_server_asks_for_more_than_the_deadline(kind: type[Any]) -> None:
    server, pauses = Scripted(_busy(503, **{"retry-after": "100"})), list[float]()
    with pytest.raises(GaveUpError) as caught:
        kind(server, pauses, retry=RetryPolicy(deadline_s=10)).predict(JPEG)
    assert (len(server.asked), pauses, caught.value.retry_after_s) == (1, [], 100)


@both
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 415, 500, 504])
def test_another_status_is_final(kind: type[Any], status: int) -> None:
    server, pauses = Scripted(_busy(status)), list[float]()
    with pytest.raises(RefusedError, match=f"answered {status}.*The queue is full") as caught:
        kind(server, pauses).predict(JPEG)
    assert (len(server.asked), pauses, caught.value.status) == (1, [], status)
    assert caught.value.remedy


@both
def test_what_took_too_long_is_not_sent_again(kind: type[Any]) -> None:
    server = Scripted(httpx.ReadTimeout("slow"))
    with pytest.raises(TimedOutError, match="in time"):
        kind(server, []).predict(JPEG)
    assert len(server.asked) == 1


@both
def test_nobody_there_says_how_to_start_one(kind: type[Any]) -> None:
    with pytest.raises(UnreachableError, match="edgecnn serve"):
        kind(Scripted(httpx.ConnectError("refused")), [], retry=RetryPolicy(attempts=2)).predict(JPEG)


@both
def test_a_certificate_that_is_not_trusted_is_no_reason_to_try_again(kind: type[Any]) -> None:
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    server = Scripted(error)
    with pytest.raises(UntrustedError, match=r"TLS: certificate verify failed.*\n.*verify="):
        kind(server, []).models()
    assert len(server.asked) == 1


@both
def test_a_server_without_tls_is_no_matter_of_certificates(kind: type[Any]) -> None:
    error = httpx.ConnectError("wrong version number")
    error.__cause__ = ssl.SSLError(1, "wrong version number")
    server = Scripted(error)
    with pytest.raises(UnreachableError, match="begins with http://") as caught:
        kind(server, []).models()
    assert not isinstance(caught.value, UntrustedError)
    assert len(server.asked) == 1


@both
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"model": 3}', b"\xff"])
def test_an_answer_of_something_else_is_an_error(kind: type[Any], body: bytes) -> None:
    with pytest.raises(AnswerError, match="no Predictions"):
        kind(Scripted(httpx.Response(200, content=body)), []).predict(JPEG)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", ""])
def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:8000"):
        Client(url)


def test_the_deadline_holds_against_an_answer_that_trickles() -> None:
    class Trickle(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            while True:
                yield b" " * 1000

    with (
        Client(
            "http://test",
            retry=RetryPolicy(deadline_s=0.05),
            transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=Trickle())),
        ) as client,
        pytest.raises(UnreachableError, match="deadline"),
    ):
        client.models()


def test_the_awaiting_deadline_holds_as_well() -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async def ask() -> None:
        transport = httpx.MockTransport(never)
        async with AsyncClient("http://test", retry=RetryPolicy(deadline_s=0.05), transport=transport) as it:
            await it.models()

    with pytest.raises(UnreachableError, match="in time"):
        asyncio.run(ask())


def test_the_key_is_not_in_what_is_printed() -> None:
    from edgecnn.client.connection import ConnectionSettings

    assert "secret" not in repr(ConnectionSettings(url="http://test", api_key="secret"))

"""A server of the real files with canned answers, for a browser to look at."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from edgecnn.serving.ui_files import PAGE_HEADERS, ui_file


@dataclass(slots=True)
class Asked:
    """One request that the page made."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, object]


@dataclass(slots=True)
class Canned:
    """What the server says, by path, and what it was asked; a test changes the answers as it likes."""

    answers: dict[str, Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def predictions(self) -> list[Asked]:
        """What was asked of any model."""
        return [asked for asked in self.asked if asked.path.startswith("/v1/predict")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    canned: Canned

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, unquote(parts.path), parts.query, headers, body)
        self.canned.asked.append(asked)
        file = ui_file(
            {"/": "index.html", "/docs": "docs.html"}.get(asked.path, asked.path.rpartition("/")[2])
        )
        if file is not None:
            self._say(200, file.content_type, file.content, PAGE_HEADERS)
            return
        nowhere: Callable[[Asked], Answer] = lambda asked: (404, {"error": f"no {asked.path}"})  # noqa: E731
        found = next((answer for path, answer in self.canned.answers.items() if asked.path == path), nowhere)
        status, document = found(asked)
        self._say(status, "application/json", json.dumps(document).encode(), ())

    do_GET = do_POST = _serve  # noqa: N815 - the base class's names

    def _say(self, status: int, kind: str, content: bytes, headers: tuple[tuple[str, str], ...]) -> None:
        self.send_response(status)
        for name, value in (("content-type", kind), ("content-length", str(len(content))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


@pytest.fixture
def canned() -> Iterator[Canned]:
    """A fake server on a port of its own, with two models that know cats."""
    state = Canned()
    state.answers["/v1/status"] = lambda _: (200, status_document())
    for name in ("mobilenet_v2", "resnet18"):
        state.answers[f"/v1/predict/{name}"] = _answer_of(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"canned": state}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def _answer_of(name: str) -> Callable[[Asked], Answer]:
    return lambda _: (200, prediction_document(name))


def status_document() -> dict[str, Any]:
    """As /v1/status answers."""
    facts = {"version": "1", "state": "READY", "input": [224, 224], "classes": 1000, "engine": "ort"}
    models = [
        {"name": "mobilenet_v2", "network": "mobilenet_v2", "precision": "int8", **facts},
        {"name": "resnet18", "network": "resnet18", "precision": "fp32", **facts},
    ]
    return {"models": models, "requests_per_s": 412.5, "queue": 3, "in_flight": 9}


LABELS = ("tabby cat", "tiger cat", "Egyptian cat", "lynx", "Persian cat")
SHARES = (0.8312, 0.1071, 0.0402, 0.0083, 0.0004)


def prediction_document(model: str, labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    """As /v1/predict answers for one picture."""
    top = [
        {"index": 281 + index, "label": label, "probability": share}
        for index, (label, share) in enumerate(zip(labels, SHARES, strict=False))
    ]
    return {
        "model": model,
        "version": "1",
        "predictions": [{"image": None, "top": top, "error": None}],
        "timings_ms": {"decode": 1.9, "queue": 0.6, "compute": 4.2, "total": 7.1},
    }


@pytest.fixture
def documents() -> Callable[..., dict[str, Any]]:
    """What makes the answer of /v1/predict."""
    return prediction_document

"""``edgecnn serve``, as a user starts and ends it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx import ModelProto
from PIL import Image

from edgecnn.cli import main
from tests.colour_model import write_colour_model

HOW = ("--instances", "1", "--threads", "1", "--max-batch", "2")
ANYWHERE = ("--port", "0", "--grpc-port", "0")


@pytest.fixture
def model(tmp_path: Path, graph_of: Callable[..., ModelProto]) -> Path:
    """Says which colour an image has most of."""
    return write_colour_model(tmp_path / "colours.onnx", graph_of)


def _png(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(file, "png")
    return file.getvalue()


@contextmanager
def _serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A server that is ready, and what it said of itself."""
    command = [sys.executable, "-m", "edgecnn", "serve", "--json", *ANYWHERE, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def _ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=60)


def _refused(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["serve", *arguments])


def test_it_labels_images_and_ends_orderly(model: Path) -> None:
    with (
        _serving(str(model), *HOW, "--access-log") as (process, told),
        httpx.Client(base_url=told["url"]) as client,
    ):
        assert client.get("/v2/health/ready").status_code == 200
        answer = client.post(
            "/v1/predict", content=_png((200, 10, 10)), headers={"content-type": "image/png"}
        )
        assert answer.json()["predictions"][0]["top"][0]["label"] == "red"
        files = [
            ("a", ("green.png", _png((0, 255, 0)))),
            ("b", ("broken.png", b"oh")),
            ("c", ("blue.png", _png((0, 0, 255)))),
        ]
        several = client.post("/v1/predict/colours?top_k=1", files=files).json()
        assert [
            (each["image"], (each["top"] or [{}])[0].get("label")) for each in several["predictions"]
        ] == [
            ("green.png", "green"),
            ("broken.png", None),
            ("blue.png", "blue"),
        ]
        assert "not an image" in several["predictions"][1]["error"]
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[..., 2] = 255
        raw = client.post(
            "/v1/predict", content=pixels.tobytes(), headers={"content-type": "application/octet-stream"}
        )
        assert raw.json()["predictions"][0]["top"][0]["label"] == "blue"
        assert set(raw.json()["timings_ms"]) == {"decode", "queue", "compute", "total"}
        status = client.get("/v1/status").json()
        assert status["models"][0]["input"] == [8, 8]
        assert 'edgecnn_images_total{model="colours",version="1"} 4.0' in client.get("/metrics").text
        assert "text/html" in client.get("/").headers["content-type"]
        assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
        assert _ended(process) == 0
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr if line.startswith("{")]
        assert [line["path"] for line in lines][:2] == ["/v2/health/ready", "/v1/predict"]
        assert lines[1]["model"] == "colours"


@pytest.mark.parametrize(
    ("send", "status", "says"),
    [
        ({"content": b""}, 400, "empty"),
        ({"content": b"no image"}, 400, "not an image that edgecnn reads"),
        ({"content": _png((1, 2, 3))[:45]}, 400, "damaged or truncated"),
        ({"json": {"a": 1}}, 415, "/v2/models"),
        ({"content": b"x", "headers": {"content-encoding": "br"}}, 415, "no compressed bodies"),
        ({"content": _png((1, 2, 3)), "params": {"top_k": "0"}}, 400, "from 1 to 3"),
        ({"content": _png((1, 2, 3)), "params": {"top_k": "many"}}, 400, "top_k is 'many'"),
        ({"content": _png((1, 2, 3)), "params": {"topk": "2"}}, 400, "'topk', which means nothing"),
        ({"files": {"a": (None, b"text")}}, 400, "holds no file"),
        ({"files": {"a": ("a.png", b"oh")}}, 400, "not an image"),
    ],
    ids=[
        "empty",
        "no image",
        "truncated",
        "JSON",
        "compressed",
        "top_k 0",
        "top_k text",
        "topk",
        "no file",
        "one bad file",
    ],
)
def test_what_cannot_be_answered_is_told(
    shared_server: str, send: dict[str, Any], status: int, says: str
) -> None:
    answer = httpx.post(f"{shared_server}/v1/predict", **send)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert httpx.get(f"{shared_server}/v2/health/ready").status_code == 200


@pytest.fixture(scope="module")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, graph_of: Callable[..., ModelProto]
) -> Iterator[str]:
    path = model.__wrapped__(tmp_path_factory.mktemp("model"), graph_of)  # type: ignore[attr-defined]
    with _serving(str(path), *HOW, "--no-grpc") as (_, told):
        yield told["url"]


@pytest.mark.slow
def test_a_request_in_work_is_answered_when_the_server_is_stopped(model: Path) -> None:
    with _serving(str(model), *HOW, "--max-delay-ms", "1500", "--no-grpc") as (process, told):
        assert told["grpc"] is None
        script = (
            "import httpx, sys\n"
            "answer = httpx.post(sys.argv[1], content=sys.stdin.buffer.read(), timeout=60)\n"
            "sys.stdout.write(answer.text)"
        )
        asking = subprocess.Popen(
            [sys.executable, "-c", script, f"{told['url']}/v1/predict"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert asking.stdin is not None
        asking.stdin.write(_png((0, 255, 0)))
        asking.stdin.close()
        with httpx.Client(base_url=told["url"]) as client:
            while client.get("/v1/status").json()["in_flight"] == 0:
                assert asking.poll() is None
        assert _ended(process) == 0
        assert asking.stdout is not None
        assert json.loads(asking.stdout.read())["predictions"][0]["top"][0]["label"] == "green"
        asking.stdout.close()
        assert asking.wait(timeout=60) == 0


@pytest.mark.slow
def test_workers_share_the_port_the_figures_and_the_loading(model: Path) -> None:
    with _serving(str(model), *HOW, "--workers", "2", "--model-control") as (process, told):
        for _ in range(20):
            answer = httpx.post(f"{told['url']}/v1/predict", content=_png((0, 255, 0)))
            assert answer.json()["predictions"][0]["top"][0]["label"] == "green"
        # What the other workers counted comes within a second.
        while (
            httpx.get(f"{told['url']}/v2/models/colours/stats").json()["model_stats"][0]["inference_count"]
            < 20
        ):
            assert process.poll() is None
        assert (
            'edgecnn_images_total{model="colours",version="1"} 20.0'
            in httpx.get(f"{told['url']}/metrics").text
        )
        httpx.post(f"{told['url']}/v2/repository/models/colours/unload").raise_for_status()
        for _ in range(4):
            refused = httpx.post(f"{told['url']}/v1/predict", content=_png((0, 255, 0)))
            assert refused.status_code == 503
        httpx.post(f"{told['url']}/v2/repository/models/colours/load").raise_for_status()
        for _ in range(4):
            assert httpx.post(f"{told['url']}/v1/predict", content=_png((0, 255, 0))).status_code == 200
        assert _ended(process) == 0


@pytest.mark.slow
def test_a_configuration_says_what_the_command_line_does_not(model: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    config = tmp_path / "server.toml"
    config.write_text(
        f"""
        [server]
        port = 9
        grpc = false
        api_keys = "{keys}"
        [[model]]
        path = "{model}"
        name = "painter"
        instances = 1
        threads = 1
        max_batch = 1
        """
    )
    with _serving("--config", str(config)) as (_, told):
        assert not told["http"].endswith(":9")
        url = f"{told['url']}/v2/models/painter"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"authorization": "Bearer secret"}).json()["name"] == "painter"
        assert httpx.get(f"{told['url']}/v2/health/ready").status_code == 200


@pytest.mark.slow
def test_workers_whose_model_does_not_load_end_the_start_and_say_why(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"?")
    config = tmp_path / "server.toml"
    config.write_text(f"""[[model]]\npath = "{tmp_path}/broken.onnx"\n[server]\nworkers = 2\n""")
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn", "serve", "--config", str(config), *ANYWHERE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "broken.onnx is not" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_workers_are_not_replaced_by_ones_that_do_not_load(model: Path) -> None:
    with _serving(str(model), *HOW, "--workers", "2", "--no-grpc") as (process, told):
        model.write_bytes(b"?")
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        for line in process.stderr:
            if "is not replaced" in line:
                break
        assert "colours.onnx is not" in line
        answer = httpx.post(f"{told['url']}/v1/predict", content=_png((0, 255, 0)))
        assert answer.json()["predictions"][0]["top"][0]["label"] == "green"


@pytest.mark.slow
def test_a_port_that_is_taken_is_named(model: Path) -> None:
    with _serving(str(model), *HOW, "--no-grpc") as (_, told):
        port = told["http"].rpartition(":")[2]
        done = subprocess.run(
            [sys.executable, "-m", "edgecnn", "serve", str(model), *HOW, "--no-grpc", "--port", port],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_of_grpc_that_is_taken_is_told_once_and_by_its_option(model: Path, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "edgecnn", "serve", str(model), *HOW, "--workers", workers]
        done = subprocess.run(
            [*command, "--port", "0", "--grpc-port", port],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first == f"Error: gRPC cannot listen on 127.0.0.1 port {port}: Address already in use."
    assert "--grpc-port" in second


@pytest.mark.slow
def test_without_grpc_its_port_does_not_matter(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = (*HOW, "--workers", "2", "--no-grpc", "--grpc-port", port)
        with _serving(str(model), *options) as (process, told):
            assert told["grpc"] is None
            assert _ended(process) == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_loading_a_file_that_is_broken_is_the_callers_fault_and_changes_nothing(
    model: Path, workers: str
) -> None:
    with _serving(str(model), *HOW, "--no-grpc", "--model-control", "--workers", workers) as (_, told):
        model.write_bytes(b"?")
        load = f"{told['url']}/v2/repository/models/{{}}/load"
        for _ in range(2):
            refused = httpx.post(load.format("colours"))
            assert refused.status_code == 400
            assert "colours.onnx is not" in refused.json()["error"]
            assert "The one before goes on." in refused.json()["error"]
        counted = httpx.get(f"{told['url']}/metrics").text
        assert 'edgecnn_refusals_total{model="colours",reason="load_failed"} 2.0' in counted
        assert 'reason="malformed"' not in counted
        assert httpx.post(load.format("nothing")).status_code == 404
        for _ in range(4):
            answer = httpx.post(f"{told['url']}/v1/predict", content=_png((0, 255, 0)))
            assert answer.json()["predictions"][0]["top"][0]["label"] == "green"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "There is nothing to serve"),
        (("nothing.onnx",), "neither a file nor a network"),
        (("--config", "nowhere.toml"), "cannot be read"),
        (("{model}", "{model}"), "2 models are named 'colours'"),
        (("{model}=a/b",), "'a/b' is no name"),
        (("{model}=",), "'' is no name"),
        (("mobilenet_v2",), "which weights"),
        (("{model}", "--max-queue", "0"), "max-queue"),
        (("{model}", "--timeout-ms", "-1"), "timeout-ms"),
        (("{model}", "--engine", "orrt"), "Did you mean ort"),
        (("{model}", "--tls-key", "key.pem"), "Give both"),
        (("{model}", "--api-keys", "nowhere"), "API keys cannot be read"),
        (("--repository", "nowhere"), "is no folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_told(model: Path, arguments: tuple[str, ...], says: str) -> None:
    result = _refused(*(each.format(model=model) for each in arguments), *ANYWHERE)
    assert result.exit_code == 2, result.output
    assert says in result.output


@pytest.mark.slow
def test_options_of_one_model_reach_it(model: Path) -> None:
    with _serving(f"{model}=first", f"{model}=second", *HOW, "--no-grpc") as (process, told):
        names = {each["name"] for each in httpx.post(f"{told['url']}/v2/repository/index").json()}
        assert names == {"first", "second"}
        config = httpx.get(f"{told['url']}/v2/models/second/config").json()
        assert config["dynamic_batching"]["preferred_batch_size"] == [1, 2]
        assert httpx.post(f"{told['url']}/v1/predict", content=b"x").status_code == 400
        assert "Name one of them" in httpx.post(f"{told['url']}/v1/predict", content=b"x").json()["error"]
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 0

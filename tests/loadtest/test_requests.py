"""What goes over the wire."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecnn.client import ModelMetadata, TensorMetadata
from edgecnn.errors import ImageError, UsageError
from edgecnn.loadtest.requests import PayloadKind, image_requests
from edgecnn.loadtest.target import Target, parse_target
from edgecnn.preprocess import normalise
from edgecnn.spec import Preprocess

TARGET = Target(host="::1", port=8000, base="/edge")


def _model(datatype: str = "FP32", shape: tuple[int, ...] = (-1, 3, 4, 6), inputs: int = 1) -> ModelMetadata:
    tensor = TensorMetadata(name="input", datatype=datatype, shape=shape)
    return ModelMetadata(name="a b", platform="onnx", inputs=(tensor,) * inputs, outputs=())


def _parts(request: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    assert int(fields["content-length"]) == len(body)
    return first, fields, body


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def _one(kind: PayloadKind, image: Path, model: ModelMetadata | None = None) -> Any:
    (request,) = image_requests(kind, model or _model(), [image], TARGET, {"authorization": "Bearer k"})
    return _parts(request)


def test_files_go_as_they_are(image: Path) -> None:
    first, fields, body = _one("jpeg", image)
    assert first == "POST /edge/v1/predict/a%20b HTTP/1.1"
    assert fields["host"] == "[::1]:8000"
    assert fields["content-type"] == "image/png"
    assert fields["authorization"] == "Bearer k"
    assert body == image.read_bytes()


def test_pixels_are_of_the_models_size(image: Path) -> None:
    first, fields, body = _one("uint8", image)
    assert first.startswith("POST /edge/v1/predict/a%20b ")
    assert fields["content-type"] == "application/octet-stream"
    assert body == np.array(Image.open(image)).tobytes()
    assert len(_one("uint8", image, _model("UINT8", (-1, 8, 5, 3)))[2]) == 8 * 5 * 3


@pytest.mark.parametrize("kind", ["binary", "json"])
def test_tensors_are_what_the_model_takes(image: Path, kind: PayloadKind) -> None:
    first, fields, body = _one(kind, image)
    assert first == "POST /edge/v2/models/a%20b/infer HTTP/1.1"
    length = int(fields.get("inference-header-content-length", len(body)))
    (tensor,) = json.loads(body[:length])["inputs"]
    pixels = np.array(Image.open(image))
    expected = normalise(pixels, Preprocess(resize=None, crop=(4, 6)))
    assert tensor["shape"] == [1, 3, 4, 6]
    sent = np.frombuffer(body[length:], np.float32) if kind == "binary" else np.array(tensor["data"])
    np.testing.assert_allclose(sent, expected.ravel(), rtol=1e-6)


def test_a_model_of_pixels_gets_pixels(image: Path) -> None:
    _, fields, body = _one("binary", image, _model("UINT8", (-1, 4, 6, 3)))
    assert body[int(fields["inference-header-content-length"]) :] == np.array(Image.open(image)).tobytes()


def test_images_are_made_up_where_there_are_none_the_same_each_time() -> None:
    requests = image_requests("jpeg", _model(), [], TARGET)
    assert len(set(requests)) == 8
    assert requests == image_requests("jpeg", _model(), [], TARGET)
    assert requests != image_requests("jpeg", _model(), [], TARGET, seed=1)
    with Image.open(io.BytesIO(_parts(requests[0])[2])) as made:
        assert (made.format, made.size) == ("JPEG", (500, 375))


@pytest.mark.parametrize("model", [_model(shape=(-1, 10)), _model(shape=(-1, 3, -1, -1)), _model(inputs=2)])
def test_a_model_that_takes_no_image_of_one_size_is_told(model: ModelMetadata, image: Path) -> None:
    with pytest.raises(UsageError, match="a b takes no images"):
        image_requests("uint8", model, [image], TARGET)


def test_a_file_that_is_no_image_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"text")
    with pytest.raises(ImageError, match=r"x\.jpg"):
        image_requests("uint8", _model(), [tmp_path / "x.jpg"], TARGET)
    with pytest.raises(ImageError, match="nowhere"):
        image_requests("jpeg", _model(), [tmp_path / "nowhere"], TARGET)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:8000", Target(host="127.0.0.1", port=8000)),
        ("http://localhost", Target(host="localhost", port=80)),
        ("https://edge.example/a/b/", Target(host="edge.example", port=443, tls=True, base="/a/b")),
        ("http://[::1]:9", Target(host="::1", port=9)),
    ],
)
def test_urls_are_read_and_written(url: str, target: Target) -> None:
    assert parse_target(url) == target
    assert parse_target(target.url) == target


@pytest.mark.parametrize(
    "url",
    ["", "host:1", "ftp://host", "http://", "http://h:x", "http://h:99999", "http://u@h", "http://h/?a=1"],
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no URL"):
        parse_target(url)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("localhost.evil.com", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, loopback: bool) -> None:
    assert Target(host=host, port=1).loopback is loopback

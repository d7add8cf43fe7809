"""NVIDIA's client of the protocol, all four of its faces, against a server in a process of its own."""

import asyncio
import importlib
import io
import json
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecnn.engines.choice import open_choice, parse_choice
from edgecnn.preprocess import decode, normalise, prepare

pytest.importorskip("tritonclient.http")
pytest.importorskip("tritonclient.grpc")

from tritonclient.utils import InferenceServerException

FACES = ("http", "grpc", "http.aio", "grpc.aio")
#: Batches of other sizes may be summed in another order.
TOLERANCE = 1e-5


class Face:
    """A client whose calls are all plain ones; those of asyncio run in a loop of their own.

    Attributes:
        name: one of FACES.
        module: its tritonclient module.
    """

    def __init__(self, name: str, endpoint: Any) -> None:
        self.name = name
        self.module: Any = importlib.import_module(f"tritonclient.{name}")
        self.url = endpoint.grpc if self.is_grpc else endpoint.http
        self._sync = None if name.endswith("aio") else self.module.InferenceServerClient(self.url)

    @property
    def is_grpc(self) -> bool:
        return self.name.startswith("grpc")

    def close(self) -> None:
        if self._sync is not None:
            self._sync.close()

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if self._sync is not None:
            return getattr(self._sync, method)  # type: ignore[no-any-return]

        async def call(*args: Any, **kwargs: Any) -> Any:
            async with self.module.InferenceServerClient(self.url) as client:
                return await getattr(client, method)(*args, **kwargs)

        return lambda *args, **kwargs: asyncio.run(call(*args, **kwargs))

    def document(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """What a call answers, as JSON."""
        return getattr(self, method)(*args, **kwargs, **({"as_json": True} if self.is_grpc else {}))

    def input(self, values: Any, datatype: str = "FP32", **how: Any) -> Any:
        tensor = self.module.InferInput("x", list(values.shape), datatype)
        return tensor.set_data_from_numpy(values, **how)

    def output(self, **how: Any) -> Any:
        return self.module.InferRequestedOutput("y", **how)


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest, endpoint: Any) -> Iterator[Face]:
    face = Face(request.param, endpoint)
    yield face
    face.close()


@pytest.fixture(params=["http", "http.aio"])
def http(request: pytest.FixtureRequest, endpoint: Any) -> Iterator[Face]:
    face = Face(request.param, endpoint)
    yield face
    face.close()


@pytest.fixture(scope="module")
def local(endpoint: Any) -> Iterator[Callable[[Any], Any]]:
    """The same model, run here: (N, 3, 32, 32) to (N, 10)."""
    with open_choice(parse_choice("ort:threads=1"), endpoint.artifact) as engine:
        yield engine.run


def _images(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, 3, 32, 32)).astype(np.float32)


def _png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _noise(seed: int) -> bytes:
    return _png(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8))


def test_health(face: Face) -> None:
    assert face.is_server_live()
    assert face.is_server_ready()
    assert face.is_model_ready("tiny")
    assert face.is_model_ready("tiny", "1")
    assert not face.is_model_ready("tiny", "2")
    assert not face.is_model_ready("nobody")


def test_server_metadata(face: Face) -> None:
    document = face.document("get_server_metadata")
    assert document["name"] == "edgecnn"
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(document["extensions"])


@pytest.mark.parametrize("version", ["", "1"])
def test_model_metadata(face: Face, version: str) -> None:
    document = face.document("get_model_metadata", "tiny", version)
    assert (document["name"], document["versions"]) == ("tiny", ["1"])
    (own,), (scores,) = document["inputs"], document["outputs"]
    assert (own["name"], own["datatype"], list(map(int, own["shape"]))) == ("x", "FP32", [-1, 3, 32, 32])
    assert (scores["name"], scores["datatype"], list(map(int, scores["shape"]))) == ("y", "FP32", [-1, 10])


def test_model_config(face: Face) -> None:
    document = face.document("get_model_config", "tiny")
    config = document["config"] if face.is_grpc else document
    assert (config["name"], config["platform"], config["max_batch_size"]) == ("tiny", "onnxruntime_onnx", 8)
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert list(map(int, config["input"][0]["dims"])) == [3, 32, 32]
    assert config["dynamic_batching"]["preferred_batch_size"] == [1, 2, 4]
    assert config["parameters"]["engine"]["string_value"].startswith("ort")


def test_statistics_count_requests(face: Face) -> None:
    def counted() -> tuple[int, int]:
        (model,) = face.document("get_inference_statistics", "tiny")["model_stats"]
        succeeded = model.get("inference_stats", {}).get("success", {})
        return int(model.get("inference_count", 0)), int(succeeded.get("count", 0))

    images, requests = counted()
    face.infer("tiny", [face.input(_images(3))])
    assert counted() == (images + 3, requests + 1)
    assert len(face.document("get_inference_statistics")["model_stats"]) == 1


def test_repository_index(face: Face) -> None:
    document = face.document("get_model_repository_index")
    (model,) = document["models"] if face.is_grpc else document
    assert (model["name"], model["version"], model["state"]) == ("tiny", "1", "READY")


def test_unload_and_load(face: Face) -> None:
    face.unload_model("tiny")
    try:
        assert not face.is_model_ready("tiny")
        with pytest.raises(InferenceServerException, match="not ready"):
            face.infer("tiny", [face.input(_images(1))])
    finally:
        face.load_model("tiny")
    assert face.is_model_ready("tiny")
    face.infer("tiny", [face.input(_images(1))])
    with pytest.raises(InferenceServerException, match="it is its file"):
        face.load_model("tiny", config="{}")


@pytest.mark.parametrize("count", [1, 3, 8])
def test_scores_are_the_local_engines(face: Face, local: Any, count: int) -> None:
    images = _images(count, seed=count)
    result = face.infer("tiny", [face.input(images)])
    np.testing.assert_allclose(result.as_numpy("y"), local(images), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_json_and_binary_both_ways(http: Face, local: Any, binary_in: bool, binary_out: bool) -> None:
    images = _images(2)
    inputs = [http.input(images, binary_data=binary_in)]
    result = http.infer("tiny", inputs, outputs=[http.output(binary_data=binary_out)])
    np.testing.assert_allclose(result.as_numpy("y"), local(images), rtol=TOLERANCE, atol=TOLERANCE)


def test_pixels_are_normalised_there(face: Face, endpoint: Any, local: Any) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    own = local(normalise(pixels, endpoint.artifact.spec.preprocess))
    for how in [{}] if face.is_grpc else [{"binary_data": True}, {"binary_data": False}]:
        result = face.infer("tiny", [face.input(pixels, "UINT8", **how)])
        np.testing.assert_allclose(result.as_numpy("y"), own, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_image_files_are_decoded_there(face: Face, endpoint: Any, local: Any, shape: tuple[int, ...]) -> None:
    files = [_noise(1), _noise(2)]
    tensor = np.array(files, np.object_).reshape(shape)
    result = face.infer("tiny", [face.input(tensor, "BYTES")])
    own = local(np.stack([prepare(decode(file, name="x"), endpoint.artifact.spec) for file in files]))
    np.testing.assert_allclose(result.as_numpy("y"), own, rtol=TOLERANCE, atol=TOLERANCE)


def test_classification(face: Face, endpoint: Any, local: Any) -> None:
    images = _images(2)
    result = face.infer("tiny", [face.input(images)], outputs=[face.output(class_count=3)]).as_numpy("y")
    assert result.shape == (2, 3)
    for row, scores in zip(result, local(images), strict=True):
        best = np.argsort(-scores)[:3]
        fields = [text.decode().split(":") for text in row]
        assert [int(index) for _, index, _ in fields] == best.tolist()
        assert [label for _, _, label in fields] == [endpoint.artifact.spec.classes[index] for index in best]
        np.testing.assert_allclose([float(score) for score, _, _ in fields], scores[best], atol=1e-4)


def test_classification_in_json(http: Face) -> None:
    output = http.output(class_count=2, binary_data=False)
    result = http.infer("tiny", [http.input(_images(1))], outputs=[output]).as_numpy("y")
    assert result.shape == (1, 2)


def test_ids_versions_and_parameters(face: Face) -> None:
    result = face.infer(
        "tiny",
        [face.input(_images(1))],
        model_version="1",
        request_id="mine",
        priority=1,
        sequence_id=4,
        sequence_start=True,
        timeout=5_000_000,
        parameters={"color": "blue", "count": 3, "yes": True, "half": 0.5},
    )
    answer = result.get_response(**({"as_json": True} if face.is_grpc else {}))
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", "tiny", "1")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compression(face: Face, local: Any, coding: str) -> None:
    images = _images(2)
    if face.is_grpc:
        how = {"compression_algorithm": coding}
    else:
        how = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
    result = face.infer("tiny", [face.input(images)], **how)
    np.testing.assert_allclose(result.as_numpy("y"), local(images), rtol=TOLERANCE, atol=TOLERANCE)


def test_the_servers_timeout(face: Face) -> None:
    """A millisecond, which decoding alone takes many times over."""
    file = np.array([_png(np.zeros((2000, 2000, 3), np.uint8))], np.object_)
    with pytest.raises(InferenceServerException) as expired:
        face.infer("tiny", [face.input(file, "BYTES")], timeout=1000)
    assert expired.value.status() in ("504", "StatusCode.DEADLINE_EXCEEDED")


@pytest.mark.parametrize("face", ["grpc", "grpc.aio"], indirect=True)
def test_the_clients_timeout(face: Face) -> None:
    with pytest.raises(InferenceServerException) as expired:
        face.infer("tiny", [face.input(_images(1))], client_timeout=1e-5)
    assert expired.value.status() == "StatusCode.DEADLINE_EXCEEDED"


def _wrong(face: Face) -> dict[str, tuple[str, Any, dict[str, Any]]]:
    """By what must be said: a model, its input, and what else is asked."""
    other = face.module.InferInput("z", [1, 3, 32, 32], "FP32").set_data_from_numpy(_images(1))
    good = face.input(_images(1))
    missing = face.module.InferRequestedOutput("z")
    shared = face.module.InferInput("x", [1, 3, 32, 32], "FP32")
    shared.set_shared_memory("region", 12288)
    return {
        "nobody": ("nobody", good, {}),
        "shape": ("tiny", face.input(_images(1)[:, :, :31]), {}),
        "datatype": ("tiny", face.input(_images(1).astype(np.float64), "FP64"), {}),
        "8 are allowed": ("tiny", face.input(_images(9)), {}),
        "no input": ("tiny", other, {}),
        "no output": ("tiny", good, {"outputs": [missing]}),
        "shared memory": ("tiny", shared, {}),
        "image": ("tiny", face.input(np.array([_noise(1)[:60]], np.object_), "BYTES"), {}),
        "version": ("tiny", good, {"model_version": "9"}),
    }


@pytest.mark.parametrize(
    "says",
    [
        "nobody",
        "shape",
        "datatype",
        "8 are allowed",
        "no input",
        "no output",
        "shared memory",
        "image",
        "version",
    ],
)
def test_what_is_wrong_is_said(face: Face, says: str) -> None:
    model, tensor, how = _wrong(face)[says]
    with pytest.raises(InferenceServerException, match=says) as refused:
        face.infer(model, [tensor], **how)
    status = refused.value.status()
    assert status in ("400", "404", "413", "StatusCode.INVALID_ARGUMENT", "StatusCode.NOT_FOUND")
    assert face.is_model_ready("tiny")


@pytest.mark.parametrize(
    "call", ["get_trace_settings", "get_log_settings", "get_system_shared_memory_status"]
)
def test_what_this_server_has_not_is_refused_and_it_goes_on(face: Face, call: str) -> None:
    with pytest.raises(InferenceServerException):
        getattr(face, call)()
    assert face.is_server_live()


@pytest.mark.parametrize("face", ["http"], indirect=True)
def test_async_infer_over_http(face: Face, endpoint: Any, local: Any) -> None:
    client = face.module.InferenceServerClient(endpoint.http, concurrency=4)
    batches = [_images(1, seed) for seed in range(8)]
    begun = [client.async_infer("tiny", [face.input(batch)]) for batch in batches]
    for batch, request in zip(batches, begun, strict=True):
        got = request.get_result(timeout=30).as_numpy("y")
        np.testing.assert_allclose(got, local(batch), rtol=TOLERANCE, atol=TOLERANCE)
    client.close()


@pytest.mark.parametrize("face", ["grpc"], indirect=True)
def test_async_infer_over_grpc(face: Face, local: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    batches = {str(seed): _images(1, seed) for seed in range(8)}
    for name, batch in batches.items():
        done = lambda result, error: answers.put((result, error))  # noqa: E731 - its arguments are keywords
        face.async_infer("tiny", [face.input(batch)], callback=done, request_id=name)
    for _ in batches:
        result, error = answers.get(timeout=30)
        assert error is None
        own = local(batches[result.get_response().id])
        np.testing.assert_allclose(result.as_numpy("y"), own, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["http.aio", "grpc.aio"])
def test_many_at_once_in_one_event_loop(endpoint: Any, local: Any, name: str) -> None:
    face = Face(name, endpoint)
    batches = [_images(1 + seed % 3, seed) for seed in range(12)]

    async def main() -> list[Any]:
        async with face.module.InferenceServerClient(face.url) as client:
            return await asyncio.gather(*(client.infer("tiny", [face.input(batch)]) for batch in batches))

    for batch, result in zip(batches, asyncio.run(main()), strict=True):
        np.testing.assert_allclose(result.as_numpy("y"), local(batch), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("face", ["grpc"], indirect=True)
def test_a_stream(face: Face, local: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    batches = [_images(1, seed) for seed in range(6)]
    face.start_stream(callback=lambda result, error: answers.put((result, error)))
    for index, batch in enumerate(batches):
        values = batch[:, :, :31] if index == 2 else batch
        face.async_stream_infer("tiny", [face.input(values)], request_id=str(index))
    for index, batch in enumerate(batches):
        result, error = answers.get(timeout=30)
        if index == 2:
            assert "shape" in str(error)
            continue
        assert result.get_response().id == str(index)
        np.testing.assert_allclose(result.as_numpy("y"), local(batch), rtol=TOLERANCE, atol=TOLERANCE)
    face.stop_stream()


def test_a_stream_in_an_event_loop(endpoint: Any, local: Any) -> None:
    face = Face("grpc.aio", endpoint)
    batches = [_images(1, seed) for seed in range(6)]

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for index, batch in enumerate(batches):
            yield {"model_name": "tiny", "inputs": [face.input(batch)], "request_id": str(index)}

    async def main() -> list[Any]:
        async with face.module.InferenceServerClient(face.url) as client:
            return [answer async for answer in client.stream_infer(requests())]

    for index, (result, error) in enumerate(asyncio.run(main())):
        assert error is None
        assert result.get_response().id == str(index)
        np.testing.assert_allclose(
            result.as_numpy("y"), local(batches[index]), rtol=TOLERANCE, atol=TOLERANCE
        )


@pytest.mark.parametrize("face", ["http"], indirect=True)
def test_bodies_made_without_a_connection(face: Face, local: Any) -> None:
    """What applications use that bring an HTTP client of their own."""
    import urllib.request

    images = _images(1)
    client = face.module.InferenceServerClient
    body, length = client.generate_request_body([face.input(images)])
    request = urllib.request.Request(f"http://{face.url}/v2/models/tiny/infer", bytes(body))
    request.add_header("Inference-Header-Content-Length", str(length))
    with urllib.request.urlopen(request, timeout=30) as response:
        header = int(response.headers["Inference-Header-Content-Length"])
        result = client.parse_response_body(response.read(), header_length=header)
    np.testing.assert_allclose(result.as_numpy("y"), local(images), rtol=TOLERANCE, atol=TOLERANCE)
    assert json.loads(body[:length])["inputs"][0]["datatype"] == "FP32"

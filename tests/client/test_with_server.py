"""The clients against the real server, in a process of its own: answers are those of the bare engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.artifact import Artifact
from edgecnn.client import AsyncClient, Client, RefusedError
from edgecnn.engines import open_engine
from edgecnn.loadtest.child_server import edgecnn_server
from edgecnn.loadtest.tiny_model import save_tiny_model

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class _Served:
    url: str
    artifact: Artifact
    image: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Served]:
    folder = tmp_path_factory.mktemp("served")
    artifact = save_tiny_model(folder / "tiny.onnx", size=16, classes=7)
    Image.new("RGB", (30, 20), (200, 30, 90)).save(folder / "red.png")
    with edgecnn_server({"tiny": artifact.path}, ["--instances", "1", "--threads", "1"]) as server:
        yield _Served(server.target.url, artifact, folder / "red.png")


def test_scores_are_those_of_the_engine(served: _Served) -> None:
    batch = np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)
    with open_engine("ort", served.artifact) as engine:
        expected = engine.run(batch).copy()
    with Client(served.url) as client:
        found = client.infer(batch, "tiny")
        assert (found.model, found.version, found.output) == ("tiny", "1", "scores")
        # A batch may be summed in another order.
        np.testing.assert_allclose(found.scores, expected, rtol=1e-5, atol=1e-5)


def test_one_image_and_several(served: _Served) -> None:
    with Client(served.url) as client:
        alone = client.predict(served.image, top_k=3)
        (prediction,) = alone.predictions
        shares = [choice.probability for choice in prediction.top]
        assert shares == sorted(shares, reverse=True)
        assert len(prediction.top) == 3
        both = client.predict([served.image, b"\xff\xd8\xff no image"], "tiny", top_k=3)
        good, bad = both.predictions
        assert good.top == prediction.top
        assert good.image == "red.png"
        assert bad.error
        with pytest.raises(RefusedError, match="400"):
            client.predict(b"\xff\xd8\xff no image")


def test_what_the_server_says_of_itself(served: _Served) -> None:
    with Client(served.url) as client:
        assert client.ready()
        assert client.ready("tiny")
        assert not client.ready("nobody")
        assert [(state.name, state.state) for state in client.models()] == [("tiny", "READY")]
        assert "binary_tensor_data" in client.metadata().extensions
        assert client.metadata("tiny").inputs[0].shape == (-1, 3, 16, 16)
        client.predict(served.image)
        (statistics,) = client.statistics("tiny")
        assert statistics.inference_count >= 1
        with pytest.raises(RefusedError, match="404"):
            client.metadata("nobody")


def test_many_at_a_time_get_their_own_answers(served: _Served) -> None:
    batches = np.random.default_rng(1).normal(size=(40, 1, 3, 16, 16)).astype(np.float32)

    async def ask() -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        async with AsyncClient(served.url) as client:
            answers = await asyncio.gather(*(client.infer(batch, "tiny") for batch in batches))
        return [answer.scores for answer in answers]

    with open_engine("ort", served.artifact) as engine:
        expected = [engine.run(batch).copy() for batch in batches]
    np.testing.assert_allclose(asyncio.run(ask()), expected, rtol=1e-5, atol=1e-5)

"""Models that come and go while requests go on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from edgecnn.engines import open_engine
from edgecnn.errors import ArtifactError, UsageError
from edgecnn.serving.faults import (
    BadRequestError,
    ForbiddenError,
    LoadFailedError,
    NotFoundError,
    OverloadedError,
    RequestError,
    TooLargeError,
    UnavailableError,
)
from edgecnn.serving.service import InferenceService
from edgecnn.serving_config import ModelSettings, RepositorySettings, ServerSettings, ServingConfig
from tests.colour_model import write_colour_model

Making = Callable[..., Path]
HOW = {"instances": 2, "threads": 1, "max_batch": 2}


@pytest.fixture
def make(tmp_path: Path, graph_of: Callable[..., ModelProto]) -> Making:
    """Writes a model whose scores are ``factor`` times the means of the channels."""

    def making(place: str, factor: float = 1.0) -> Path:
        return write_colour_model(tmp_path / place, graph_of, network="means", factor=factor)

    return making


def _tensor(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(3, 8, 8)).astype(np.float32)


def _serving(
    config: ServingConfig,
    use: Callable[[InferenceService], Coroutine[Any, Any, None]],
    *,
    strict: bool = True,
) -> None:
    async def main() -> None:
        service = InferenceService(config)
        assert not service.ready()
        try:
            await service.start(strict=strict)
            await use(service)
        finally:
            await service.stop()
        assert not service.ready()

    asyncio.run(main())


def _one(path: Path, **server: Any) -> ServingConfig:
    how: Any = HOW
    return ServingConfig(
        model=(ModelSettings(path=str(path), name="means", **how),), server=ServerSettings(**server)
    )


def _repository(folder: Path, **server: Any) -> ServingConfig:
    how: Any = HOW
    return ServingConfig(
        repository=RepositorySettings(path=str(folder), **how),
        server=ServerSettings(model_control=True, **server),
    )


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("edgecnn.serving.service._GRACE_S", 0.05)


def test_answers_are_those_of_the_engine(make: Making) -> None:
    path = make("m.onnx", 3.0)
    images = [_tensor(seed) for seed in range(5)]

    async def use(service: InferenceService) -> None:
        assert service.ready()
        model = await service.model(service.default_name())
        inference = await model.infer(images)
        with open_engine("ort", _artifact(path)) as engine:
            np.testing.assert_allclose(inference.scores, engine.run(np.stack(images)), rtol=1e-6)
        assert sum(inference.batches) >= 5
        (statistics,) = service.statistics()
        assert statistics.inference_count == 5
        assert statistics.success[0] == 1
        assert sum(size * runs for size, (runs, _) in statistics.batches.items()) == 5
        assert b'edgecnn_images_total{model="means",version="1"} 5.0' in service.metrics.text()

    _serving(_one(path), use)


def _artifact(path: Path) -> Any:
    from edgecnn.artifact import open_artifact

    return open_artifact(path)


def test_what_does_not_fit_is_refused_by_its_shape_and_count(make: Making) -> None:
    async def use(service: InferenceService) -> None:
        model = await service.model("means")
        with pytest.raises(BadRequestError, match=r"float32\[3, 8, 9\].*uint8\[8, 8, 3\] pixels"):
            await model.infer([np.zeros((3, 8, 9), np.float32)])
        with pytest.raises(BadRequestError, match="float64"):
            await model.infer([np.zeros((3, 8, 8))])
        with pytest.raises(BadRequestError, match="no image"):
            await model.infer([])
        with pytest.raises(TooLargeError, match="4 images, and 3 is the limit"):
            await model.infer([_tensor()] * 4)
        with pytest.raises(TooLargeError):
            await model.decode([b""] * 4)
        with pytest.raises(NotFoundError, match="Models: means"):
            await service.model("maens")
        with pytest.raises(NotFoundError, match="Versions: 1"):
            await service.model("means", "2")

    _serving(_one(make("m.onnx"), max_images=3), use)


def test_more_than_the_queue_holds_is_refused_and_counted(make: Making) -> None:
    async def use(service: InferenceService) -> None:
        model = await service.model("means")
        calls = [asyncio.ensure_future(model.infer([_tensor()] * 8)) for _ in range(30)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        refused = [each for each in found if isinstance(each, OverloadedError)]
        assert refused
        assert len(refused) < 30
        count = f'edgecnn_refusals_total{{model="means",reason="overloaded"}} {len(refused)}.0'
        assert count.encode() in service.metrics.text()

    _serving(_one(make("m.onnx"), max_queue=8), use)


def test_reloading_loses_no_request_and_changes_the_answers(make: Making) -> None:
    path = make("m.onnx", 1.0)
    image = _tensor()
    expected = {factor: factor * image.mean(axis=(1, 2)) for factor in (1.0, 2.0)}

    async def use(service: InferenceService) -> None:
        found: list[NDArray[np.float32]] = []
        stop = asyncio.Event()

        async def ask() -> None:
            while not stop.is_set():
                found.append((await (await service.model("means")).infer([image])).scores[0])

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        await asyncio.sleep(0.05)
        make("m.onnx", 2.0)
        await service.load("means")
        await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*asking)
        kinds = [
            next(factor for factor, scores in expected.items() if np.allclose(each, scores, rtol=1e-4))
            for each in found
        ]
        assert kinds[0] == 1.0
        assert kinds[-1] == 2.0

    _serving(_one(path, model_control=True), use)


def test_a_file_that_broke_leaves_the_loaded_model_alone(make: Making) -> None:
    path = make("m.onnx")

    async def use(service: InferenceService) -> None:
        path.write_bytes(b"broken")
        with pytest.raises(LoadFailedError, match="The one before goes on"):
            await service.load("means")
        assert service.ready()
        await (await service.model("means")).infer([_tensor()])

    _serving(_one(path, model_control=True), use)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": "No such thing.", "status": 404}, NotFoundError),
        ({"error": "It is broken.", "status": 400}, LoadFailedError),
        ({"error": "It is gone.", "status": 503}, UnavailableError),
        ({"error": "KeyError"}, UnavailableError),
    ],
)
def test_what_a_worker_refuses_is_refused_as_it_says(
    make: Making, answer: dict[str, Any], kind: type[RequestError]
) -> None:
    async def use(service: InferenceService) -> None:
        async def spread(message: dict[str, Any]) -> list[dict[str, Any]]:
            return [{}, answer]

        service.spread = spread
        with pytest.raises(kind, match=answer["error"]):
            await service.load("means")

    _serving(_one(make("m.onnx"), model_control=True), use)


def test_a_folder_that_no_client_could_ask_for_is_refused(tmp_path: Path, make: Making) -> None:
    make("models/good/1/model.onnx")

    async def use(service: InferenceService) -> None:
        make("models/my model/1/model.onnx")
        with pytest.raises(NotFoundError, match="no model 'my model'"):
            await service.load("my model")

    _serving(_repository(tmp_path / "models"), use)
    with pytest.raises(UsageError, match="'my model' is no name"):
        _serving(_repository(tmp_path / "models"), use)


def test_unloaded_is_unavailable_until_it_is_loaded(make: Making) -> None:
    async def use(service: InferenceService) -> None:
        model = await service.model("means")
        pending = asyncio.ensure_future(model.infer([_tensor()]))
        await asyncio.sleep(0)
        await service.unload("means")
        await pending
        assert [(state.state, state.reason) for state in service.index()] == [
            ("UNAVAILABLE", "it was unloaded")
        ]
        assert service.index(ready_only=True) == []
        assert not service.ready_model("means")
        with pytest.raises(UnavailableError, match="it was unloaded"):
            await (await service.model("means")).infer([_tensor()])
        await service.load("means")
        await (await service.model("means")).infer([_tensor()])

    _serving(_one(make("m.onnx"), model_control=True), use)


def test_clients_control_models_only_where_they_may(make: Making) -> None:
    async def use(service: InferenceService) -> None:
        for control in (service.load, service.unload):
            with pytest.raises(ForbiddenError, match="--model-control"):
                await control("means")

    _serving(_one(make("m.onnx")), use)


def test_a_model_that_does_not_load_ends_the_start_and_says_why(tmp_path: Path, make: Making) -> None:
    path = make("m.onnx")
    path.write_bytes(b"nothing")

    async def use(service: InferenceService) -> None:
        raise AssertionError("it must not start")

    with pytest.raises(ArtifactError, match="not a readable ONNX file"):
        _serving(_one(path), use)


def test_a_repository_serves_its_newest_version_and_loads_others_when_asked(
    tmp_path: Path, make: Making
) -> None:
    make("models/means/2/model.onnx", 2.0)
    make("models/means/10/model.onnx", 10.0)
    make("models/.hidden/1/model.onnx")
    (tmp_path / "models" / "means" / "notes").mkdir()

    async def use(service: InferenceService) -> None:
        assert [(each.version, each.state) for each in service.index()] == [
            ("2", "UNAVAILABLE"),
            ("10", "READY"),
        ]
        assert (await service.model("means")).version == "10"
        older = await service.model("means", "2")
        scores = (await older.infer([np.ones((3, 8, 8), np.float32)])).scores
        np.testing.assert_allclose(scores, 2.0)
        make("models/means/11/model.onnx", 11.0)
        await service.load("means")
        assert (await service.model("means")).version == "11"
        retired = await service.model("means")
        shutil.rmtree(tmp_path / "models" / "means" / "11")
        loading = asyncio.create_task(service.load("means"))
        await asyncio.sleep(0.02)
        assert (await service.model("means")).version == "10"
        await retired.infer([_tensor()])  # whoever had found it is still answered
        await loading
        assert [each.version for each in service.index()] == ["2", "10"]
        assert service.ready()
        with pytest.raises(UnavailableError, match="is gone"):
            await retired.infer([_tensor()])

    _serving(_repository(tmp_path / "models"), use)


def test_one_bad_model_of_a_repository_makes_it_not_ready_and_stops_no_other(
    tmp_path: Path, make: Making
) -> None:
    make("models/good/1/model.onnx")
    make("models/bad/1/model.onnx").write_bytes(b"?")

    async def use(service: InferenceService) -> None:
        assert not service.ready()
        assert service.ready_model("good")
        with pytest.raises(BadRequestError, match="2 models"):
            service.default_name()
        with pytest.raises(UnavailableError, match="does not load"):
            await service.model("bad")
        shutil.rmtree(tmp_path / "models" / "bad")
        await service.load("bad")
        assert service.ready()

    _serving(_repository(tmp_path / "models"), use, strict=False)


def test_above_the_memory_limit_the_longest_unused_makes_room(tmp_path: Path, make: Making) -> None:
    for name in ("one", "two"):
        make(f"models/{name}/1/model.onnx")

    async def use(service: InferenceService) -> None:
        states = {each.name: each.state for each in service.index()}
        assert states == {"one": "UNAVAILABLE", "two": "READY"}
        assert service.ready()
        await (await service.model("one")).infer([_tensor()])
        states = {each.name: each.state for each in service.index()}
        assert states == {"one": "READY", "two": "UNAVAILABLE"}

    _serving(_repository(tmp_path / "models", memory_limit_mb=1e-6), use)


def test_a_repository_without_models_is_refused_unless_they_may_come(tmp_path: Path, make: Making) -> None:
    (tmp_path / "models" / "1").mkdir(parents=True)
    config = _repository(tmp_path / "models")

    async def use(service: InferenceService) -> None:
        make("models/means/1/model.onnx")
        await service.load("means")
        await (await service.model(service.default_name())).infer([_tensor()])

    _serving(config, use)
    shutil.rmtree(tmp_path / "models" / "means")
    with pytest.raises(UsageError, match="holds no model"):
        _serving(replace(config, server=ServerSettings()), use)


def test_a_repository_must_be_a_folder(tmp_path: Path) -> None:
    async def use(service: InferenceService) -> None:
        raise AssertionError("it must not start")

    with pytest.raises(UsageError, match="is no folder"):
        _serving(_repository(tmp_path / "nowhere"), use)

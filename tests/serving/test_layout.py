"""Which instances, threads and batches: told, remembered or measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from edgecnn.artifact import Artifact, save_artifact
from edgecnn.bench.tune import Configuration, Measured
from edgecnn.engines.choice import EngineChoice
from edgecnn.errors import UnknownNameError, UsageError
from edgecnn.serving.layout import Layout, find_layout
from edgecnn.serving_config import ModelSettings
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId
from edgecnn.timing.scenarios import Offline


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def artifact(tmp_path: Path, graph_of: Callable[..., ModelProto]) -> Artifact:
    return _artifact(tmp_path, graph_of)


def _artifact(folder: Path, graph_of: Callable[..., ModelProto], batch: int | str = "batch") -> Artifact:
    model = graph_of("m = GlobalAveragePool(x) f = Flatten(m) y = Mul(f, c)", {"c": np.float32(1)})
    if isinstance(batch, int):
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_value = batch
    spec = ModelSpec(
        network="means",
        classes=("red", "green", "blue"),
        input=TensorSpec(name="x", dtype="float32", shape=(batch, 3, 8, 8)),
        output=TensorSpec(name="y", dtype="float32", shape=(batch, 3)),
        preprocess=Preprocess(resize=8, crop=(8, 8)),
        weights=WeightsId(kind="random", name="seed=0"),
    )
    return save_artifact(model, spec, folder / "m.onnx")


Asked = list[list[Configuration]]

#: A call of one image by all threads; by one it takes 2 ms.
THREADED_MS = 1.5


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What is measured, on a machine where two instances of one thread are best and batches do not pay."""
    found: Asked = []

    def best(
        artifact: Artifact, choice: EngineChoice, configurations: Sequence[Configuration]
    ) -> list[Measured]:
        found.append(list(configurations))
        measured = []
        for each in configurations:
            call_ms = (
                each.batch * (2.0 if each.threads == 1 else THREADED_MS) * (1.1 if each.batch > 1 else 1.0)
            )
            latencies = np.full(8, 1e6 * call_ms)
            rate = 1e3 * each.instances / call_ms
            measured.append(Measured(each, (Offline(latencies_ns=latencies, calls_per_s=rate),) * 6))
        return sorted(measured, key=lambda each: -each.images_per_s.mean())

    monkeypatch.setattr("edgecnn.serving.layout._best", best)
    return found


def _settings(artifact: Artifact, **how: Any) -> ModelSettings:
    return ModelSettings(path=str(artifact.path), **how)


def test_it_is_measured_once_and_then_remembered(artifact: Artifact, asked: Asked) -> None:
    said: list[str] = []
    layout = find_layout(artifact, _settings(artifact), 2, said.append)
    assert (layout.instances, layout.threads, layout.engine) == (2, 1, "ort:threads=1")
    assert layout.sizes == (1,), "batches that are slower per image are never formed"
    assert layout.call_ms == {1: 2.0, 2: 4.4, 4: 8.8, 8: 17.6}
    assert layout.images_per_s[1] == 1000.0
    instances, batches = asked
    assert {(each.instances, each.threads) for each in instances} == {(2, 1), (1, 2)}
    assert {each.batch for each in batches} == {1, 2, 4, 8}
    assert len(said) == 1
    assert find_layout(artifact, _settings(artifact), 2, said.append) == layout
    assert len(asked) == 2
    assert len(said) == 1


@pytest.mark.parametrize(("threaded_ms", "instances"), [(0.9, 2), (0.7, 1)])
def test_threads_on_one_call_must_gain_clearly(
    artifact: Artifact, asked: Asked, monkeypatch: pytest.MonkeyPatch, threaded_ms: float, instances: int
) -> None:
    monkeypatch.setitem(globals(), "THREADED_MS", threaded_ms)
    assert find_layout(artifact, _settings(artifact), 2).instances == instances


def test_another_question_is_measured_anew(artifact: Artifact, asked: Asked) -> None:
    find_layout(artifact, _settings(artifact), 2)
    find_layout(artifact, _settings(artifact), 4)
    assert {(each.instances, each.threads) for each in asked[2]} == {(4, 1), (2, 2), (1, 4)}


def test_a_cache_that_is_broken_is_measured_again(artifact: Artifact, asked: Asked, tmp_path: Path) -> None:
    layout = find_layout(artifact, _settings(artifact), 2)
    (file,) = (tmp_path / "cache" / "layouts").iterdir()
    file.write_text("{")
    assert find_layout(artifact, _settings(artifact), 2) == layout
    assert len(asked) == 4


def test_slow_models_are_not_tried_in_batches_that_nobody_would_wait_for(
    artifact: Artifact, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecnn.serving.layout._LONGEST_CALL_MS", 5.0)
    find_layout(artifact, _settings(artifact), 2)
    assert {each.batch for each in asked[1]} == {1, 2}


def test_a_call_that_is_shorter_than_a_thread_is_made_on_the_event_loop(
    artifact: Artifact, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecnn.serving.layout._INLINE_MS", 2.5)
    layout = find_layout(artifact, _settings(artifact), 2)
    assert (layout.inline, layout.instances, layout.threads, layout.sizes) == (True, 1, 1, (1,))
    assert layout.call_ms == {1: 2.0}
    assert len(asked) == 1
    assert not find_layout(artifact, _settings(artifact, instances=2), 2).inline
    assert not find_layout(artifact, _settings(artifact, max_delay_ms=1.0), 2).inline


def test_what_is_told_by_hand_is_not_measured(artifact: Artifact, asked: Asked) -> None:
    told = _settings(artifact, instances=3, threads=2, max_batch=6)
    expected = Layout(engine="ort:threads=2", instances=3, threads=2, sizes=(1, 2, 4, 6))
    assert find_layout(artifact, told, 2) == expected
    assert not asked


def test_a_batch_that_is_told_is_formed_whatever_it_costs(artifact: Artifact, asked: Asked) -> None:
    layout = find_layout(artifact, _settings(artifact, max_batch=4), 2)
    assert layout.sizes == (1, 2, 4)
    assert layout.instances == 2
    assert set(layout.call_ms) == {1, 2, 4}


def test_instances_that_are_told_share_the_cores(artifact: Artifact, asked: Asked) -> None:
    find_layout(artifact, _settings(artifact, instances=2), 8)
    assert {(each.instances, each.threads) for each in asked[0]} == {(2, 4)}


def test_figures_of_tune_are_taken_for_the_file_that_they_were_measured_on(
    artifact: Artifact, asked: Asked
) -> None:
    tuned = _settings(
        artifact,
        sha256=artifact.sha256(),
        instances=2,
        threads=1,
        max_batch=4,
        call_ms={1: 2.0, 4: 4.0, 8: 5.0},
    )
    layout = find_layout(artifact, tuned, 2)
    assert layout.sizes == (1, 4)
    assert not asked
    said: list[str] = []
    other = replace(tuned, sha256="0")
    assert find_layout(artifact, other, 2, said.append).call_ms != tuned.call_ms
    assert asked
    assert "another file" in said[0]


def test_a_fixed_batch_is_the_only_one(
    tmp_path: Path, graph_of: Callable[..., ModelProto], asked: Asked
) -> None:
    fixed = _artifact(tmp_path, graph_of, batch=4)
    assert find_layout(fixed, _settings(fixed), 2).sizes == (4,)
    with pytest.raises(UsageError, match="fixed to a batch of 4, and --max-batch asks for 2"):
        find_layout(fixed, _settings(fixed, max_batch=2), 2)


def test_an_engine_that_does_not_exist_is_named(artifact: Artifact) -> None:
    with pytest.raises(UnknownNameError, match="'orrt'"):
        find_layout(artifact, _settings(artifact, engine="orrt"), 2)


@pytest.mark.slow
def test_the_real_thing_is_measured(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecnn.serving.layout._SECONDS", 0.01)
    monkeypatch.setattr("edgecnn.serving.layout._CPU_BATCHES", (1, 2))
    layout = find_layout(artifact, _settings(artifact, instances=1, threads=1), 2)
    assert set(layout.call_ms) == {1, 2}
    assert layout.sizes[0] == 1

"""The CUDA engine: what is missing without a GPU, and, with the CPU in the GPU's place, all of its logic.

On such a stand-in, the buffers, their binding, the runs and the errors are ONNX Runtime's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgecnn.artifact import Artifact
from edgecnn.cuda_driver import Gpu
from edgecnn.engines import EngineOptions, open_engine, ort_cuda, ort_session
from edgecnn.engines.base import Batch, CopyingEngine
from edgecnn.engines.ort_cuda import OrtCudaEngine
from edgecnn.errors import EngineError, EngineUnavailableError, UsageError

GPUS = (Gpu("NVIDIA Fake", "9.0"), Gpu("NVIDIA Other", "8.9"))


@pytest.fixture
def opened_with() -> list[dict[str, str]]:
    """The provider's options of every session that was opened."""
    return []


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, opened_with: list[dict[str, str]]) -> None:
    """A machine with GPUs, whose place the CPU takes."""
    real = ort_session.open_session

    def open_session(model: Any, settings: Any, providers: Any) -> Any:
        (_, options), _ = providers
        opened_with.append(options)
        return real(model, settings, ["CPUExecutionProvider"])

    monkeypatch.setattr(ort_cuda, "open_session", open_session)
    monkeypatch.setattr(ort_cuda, "cuda_gpus", lambda: GPUS)
    monkeypatch.setattr(ort_cuda, "_PROVIDER", "CPUExecutionProvider")
    monkeypatch.setattr(ort_cuda, "_MEMORY", "cpu")


def batches(count: int) -> list[Batch]:
    """Of 1 to 3 images each."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=(1 + i % 3, 3, 32, 32)).astype(np.float32) for i in range(count)]


@pytest.fixture
def ort(dynamic: Artifact) -> Iterator[Any]:
    with open_engine("ort", dynamic, EngineOptions(threads=1)) as engine:
        yield engine


@pytest.mark.usefixtures("stand_in")
def test_answers_are_those_of_ort_at_alternating_batch_sizes(dynamic: Artifact, ort: Any) -> None:
    with OrtCudaEngine(dynamic, EngineOptions()) as engine:
        for batch in batches(7):
            assert np.allclose(engine.run(batch), ort.run(batch), atol=1e-5)
        strided = batches(1)[0][:, :, ::-1]
        assert np.allclose(engine.run(strided), ort.run(strided), atol=1e-5)


@pytest.mark.usefixtures("stand_in")
def test_runs_that_overlap_have_buffers_of_their_own(dynamic: Artifact, ort: Any) -> None:
    many = batches(24)
    with OrtCudaEngine(dynamic, EngineOptions()) as engine, ThreadPoolExecutor(4) as pool:
        for scores, batch in zip(pool.map(engine.run, many), many, strict=True):
            assert np.allclose(scores, ort.run(batch), atol=1e-5)


@pytest.mark.usefixtures("stand_in")
def test_buffers_stay_for_the_next_run_and_results_do_not_share_them(
    dynamic: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    real = ort_cuda._value

    def value(images: int, *rest: Any) -> Any:
        made.append(images)
        return real(images, *rest)

    monkeypatch.setattr(ort_cuda, "_value", value)
    one, two, _ = batches(3)
    with OrtCudaEngine(dynamic, EngineOptions()) as engine:
        first = engine.run(one)
        kept = first.copy()
        for batch in (two, one + 1, two, one + 1):
            engine.run(batch)
    assert made == [1, 1, 2, 2]  # an input and an output each
    assert np.array_equal(first, kept)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("options", [EngineOptions(), EngineOptions(graph=True, batch=2)])
def test_copies_alone_change_no_later_result(dynamic: Artifact, ort: Any, options: EngineOptions) -> None:
    pair = batches(2)[1]
    with OrtCudaEngine(dynamic, options) as engine:
        assert isinstance(engine, CopyingEngine)
        scores = engine.run(pair)
        engine.copy_only(pair + 1)
        assert np.allclose(scores, ort.run(pair), atol=1e-5)
        assert np.allclose(engine.run(pair), scores)
        with pytest.raises(EngineError, match="The batch is float32"):
            engine.copy_only(pair[:, :1])
    with pytest.raises(EngineError, match="is closed"):
        engine.copy_only(pair)


@pytest.mark.usefixtures("stand_in")
def test_info_says_what_runs_where(dynamic: Artifact, opened_with: list[dict[str, str]]) -> None:
    with OrtCudaEngine(dynamic, EngineOptions(device=1, threads=2)) as engine:
        info = engine.info
    assert (info.name, info.device, info.threads, info.precision) == ("ort-cuda", "NVIDIA Other", 2, "fp32")
    assert opened_with == [{"device_id": "1", "use_tf32": "0", "enable_cuda_graph": "0"}]
    assert OrtCudaEngine.check().device == "NVIDIA Fake"


@pytest.mark.usefixtures("stand_in")
def test_quantised_models_are_not_said_to_run_in_int8(dynamic: Artifact) -> None:
    quantised = Artifact(dynamic.path, replace(dynamic.spec, precision="int8"))
    with OrtCudaEngine(quantised, EngineOptions()) as engine:
        assert engine.info.precision == "fp32"


@pytest.mark.usefixtures("stand_in")
def test_a_cuda_graph_keeps_to_one_batch_size(
    dynamic: Artifact, ort: Any, opened_with: list[dict[str, str]]
) -> None:
    with OrtCudaEngine(dynamic, EngineOptions(graph=True, batch=2)) as engine:
        pair = batches(2)[1]
        assert np.allclose(engine.run(pair), ort.run(pair), atol=1e-5)
        with pytest.raises(EngineError, match=r"takes float32\[2, 3, 32, 32\]"):
            engine.run(pair[:1])
    assert opened_with[0]["enable_cuda_graph"] == "1"


@pytest.mark.usefixtures("stand_in")
def test_a_cuda_graph_of_an_open_batch_is_refused(dynamic: Artifact) -> None:
    with pytest.raises(UsageError, match="the batch of the model is open") as caught:
        OrtCudaEngine(dynamic, EngineOptions(graph=True))
    assert "batch=N" in caught.value.remedy


@pytest.mark.usefixtures("stand_in")
def test_a_gpu_that_is_not_there_is_named_with_those_that_are(dynamic: Artifact) -> None:
    with pytest.raises(EngineUnavailableError, match="no GPU 2") as caught:
        OrtCudaEngine(dynamic, EngineOptions(device=2))
    assert caught.value.remedy == "Those here are 0 (NVIDIA Fake), 1 (NVIDIA Other)."


def test_the_build_for_the_cpu_is_named_with_what_replaces_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_cuda, "cuda_gpus", lambda: GPUS)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineUnavailableError, match="is not for CUDA: it offers CPUExec") as caught:
        OrtCudaEngine.check()
    assert "pip uninstall -y onnxruntime onnxruntime-gpu; pip install 'edgecnn[gpu]'" in caught.value.remedy


def test_a_provider_that_does_not_load_is_never_replaced_by_the_cpu(
    dynamic: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime drops such a provider, and would run on the CPU."""
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    real = ort_session.open_session
    monkeypatch.setattr(ort_cuda, "cuda_gpus", lambda: GPUS)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: sys.stdout.write("Failed to load libcudnn.so.9"))
    monkeypatch.setattr(
        ort_cuda, "open_session", lambda model, settings, _: real(model, settings, ["CPUExecutionProvider"])
    )
    for attempt in (OrtCudaEngine.check, lambda: OrtCudaEngine(dynamic, EngineOptions())):
        with pytest.raises(EngineUnavailableError, match=r"does not load .* libcudnn\.so\.9") as caught:
            attempt()
        assert "pip install --force-reinstall 'edgecnn[gpu]'" in caught.value.remedy


@pytest.mark.usefixtures("stand_in")
def test_a_model_whose_arithmetic_is_left_to_the_cpu_is_refused(
    dynamic: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort_cuda, "_PROVIDER", "CPUExecutionProvider")
    nodes = [SimpleNamespace(op_type=kind) for kind in ("Conv", "Conv", "Shape", "QLinearAdd")]
    parts = [
        SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: [SimpleNamespace(op_type="Relu")]),
        SimpleNamespace(ep_name="OtherExecutionProvider", get_nodes=lambda: nodes),
    ]
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info", lambda _: parts)
    with pytest.raises(EngineError, match=r"no kernel for Conv \(2\), QLinearAdd \(1\)\.") as caught:
        OrtCudaEngine(dynamic, EngineOptions())
    assert "--engine ort" in caught.value.remedy


@pytest.mark.usefixtures("stand_in")
def test_a_provider_that_fails_is_not_replaced_while_it_opens(
    dynamic: Artifact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime would print the failure and go on with the CPU."""

    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA failure 2: out of memory")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(EngineError, match="CUDA failure 2: out of memory"):
        OrtCudaEngine(dynamic, EngineOptions())
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("stand_in")
def test_memory_that_cannot_be_had_is_an_error_of_the_engine(
    dynamic: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 512")

    with OrtCudaEngine(dynamic, EngineOptions()) as engine:
        monkeypatch.setattr(ort_cuda, "_value", fail)
        with pytest.raises(EngineError, match="Failed to allocate memory") as caught:
            engine.run(batches(1)[0])
        assert "smaller batch" in caught.value.remedy

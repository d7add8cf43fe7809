"""Peak memory of an engine, in real processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn.artifact import Artifact, save_artifact
from edgecnn.bench import memory
from edgecnn.bench.memory import measure_footprint, measure_memory
from edgecnn.engines.choice import parse_choice
from edgecnn.engines.footprint import FootprintRequest
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.reports.result import MemoryBytes
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

MEBIBYTE = 2**20

#: Of the weights of the model below.
WEIGHTS = 32 * MEBIBYTE


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """(N, 1, 8, 8) float32 to (N, 2), through a matrix of 32 MiB."""
    middle = WEIGHTS // 4 // 64
    random = np.random.default_rng(0)
    constants: dict[str, NDArray[Any]] = {
        "row": np.array([-1, 64], np.int64),
        "wide": random.random((64, middle), np.float32),
        "narrow": np.ones((middle, 2), np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["input", "row"], ["flat"]),
        helper.make_node("MatMul", ["flat", "wide"], ["middle"]),
        helper.make_node("MatMul", ["middle", "narrow"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    spec = ModelSpec(
        network="heavy",
        classes=("one", "two"),
        input=TensorSpec(name="input", dtype="float32", shape=("batch", 1, 8, 8)),
        output=TensorSpec(name="scores", dtype="float32", shape=("batch", 2)),
        preprocess=Preprocess(resize=None, crop=(8, 8), color="L", mean=(0.0,), std=(1.0,)),
        weights=WeightsId(kind="unknown", name="none"),
    )
    return save_artifact(model, spec, tmp_path_factory.mktemp("heavy") / "heavy.onnx")


def test_the_weights_are_in_the_figure_of_the_open_model_and_the_library_is_not(heavy: Artifact) -> None:
    found = measure_footprint(parse_choice("ort:threads=1"), heavy, 1, processes=1)
    assert found.empty is not None
    assert found.runtime is not None
    assert found.load is not None
    assert found.first_run is not None
    assert found.peak is not None
    assert found.empty < found.runtime < found.load <= found.first_run <= found.peak
    # At least once, and at most twice: while it copies them.
    assert WEIGHTS < found.load - found.runtime < 2.5 * WEIGHTS
    assert found.device == "cpu"
    assert found.device_memory is None


def test_a_process_is_told_the_batch_and_the_engine_with_its_options(
    heavy: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[FootprintRequest] = []
    answer = b'{"empty":1,"runtime":2,"load":3,"first_run":4,"peak":5,"device":"cpu"}'

    def run(command: object, *, input: bytes, **options: object) -> subprocess.CompletedProcess[bytes]:  # noqa: A002
        asked.append(msgspec.json.decode(input, type=FootprintRequest))
        return subprocess.CompletedProcess((), 0, answer, b"")

    monkeypatch.setattr(subprocess, "run", run)
    found = measure_memory(parse_choice("ort:threads=1,arena=off"), heavy, 16)
    assert found == MemoryBytes(
        file=heavy.path.stat().st_size, runtime=1, load=2, first_run=3, peak=4, device=None
    )
    assert len(asked) == 3
    assert {(each.engine, each.batch, each.artifact) for each in asked} == {
        ("ort:threads=1,arena=off", 16, str(heavy.path))
    }
    assert asked[0].spec == heavy.spec


def test_an_artifact_that_does_not_open_is_an_engine_error(heavy: Artifact, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(heavy.path.read_bytes()[:1000])
    with pytest.raises(EngineError, match="does not open in ONNX Runtime") as caught:
        measure_footprint(parse_choice("ort"), Artifact(broken, heavy.spec), 1, processes=1)
    assert caught.value.remedy


_CRASHING = """
import os, signal, time
from edgecnn.engines.footprint import FootprintRequest
from edgecnn.errors import EngineUnavailableError

class Engine:
    understands = frozenset({{"threads"}})
    def __init__(self, artifact, options):
        print("noise on standard output")
        {deed}
    @classmethod
    def check(cls):
        raise NotImplementedError
"""


@pytest.mark.parametrize(
    ("deed", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed"),
        ("os.abort()", "ended with -6"),
        ("raise SystemExit('no such thing')", "ended with 1: no such thing"),
        ("time.sleep(60)", "did not end within 2 s"),
    ],
    ids=["killed", "aborted", "raised", "stuck"],
)
def test_a_process_that_dies_is_a_typed_error_with_what_it_said(
    heavy: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, says: str
) -> None:
    name = f"crashing_{abs(hash(deed))}"
    (tmp_path / f"{name}.py").write_text(_CRASHING.format(deed=deed))
    monkeypatch.syspath_prepend(tmp_path)
    timeout_s = 2 if "sleep" in deed else 60
    with pytest.raises(EngineError, match=says) as caught:
        measure_footprint(parse_choice(f"{name}:Engine"), heavy, 1, processes=1, timeout_s=timeout_s)
    assert "'heavy' in crashing_" in caught.value.problem


def test_an_engine_that_cannot_open_here_stays_unavailable(
    heavy: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deed = "raise EngineUnavailableError('There is no device.', 'Buy one.')"
    (tmp_path / "unavailable_engine.py").write_text(_CRASHING.format(deed=deed))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineUnavailableError, match="There is no device") as caught:
        measure_footprint(parse_choice("unavailable_engine:Engine"), heavy, 1, processes=1)
    assert caught.value.remedy == "Buy one."


def test_gpu_memory_is_what_came_to_be_in_use_where_the_driver_does_not_know_the_process(
    heavy: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = (
        b'{"empty":1,"runtime":2,"load":3,"first_run":4,"peak":5,"device":"NVIDIA H200","device_used":900}'
    )
    monkeypatch.setattr(memory, "open_nvml", lambda: SimpleNamespace(used_memory_bytes=lambda: 400))
    monkeypatch.setattr(
        subprocess, "run", lambda *arguments, **options: subprocess.CompletedProcess((), 0, answer, b"")
    )
    found = measure_memory(parse_choice("ort"), heavy, 1)
    assert found.device == 500
    assert (found.runtime, found.load, found.first_run, found.peak) == (1, 2, 3, 4)


def test_where_the_system_tells_no_peak_the_figures_are_unknown(
    heavy: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = b'{"empty":null,"runtime":null,"load":null,"first_run":null,"peak":null,"device":"cpu"}'
    monkeypatch.setattr(
        subprocess, "run", lambda *arguments, **options: subprocess.CompletedProcess((), 0, answer, b"")
    )
    found = measure_memory(parse_choice("ort"), heavy, 1)
    assert found.peak is None
    assert found.file is not None


@pytest.mark.parametrize("forbidden", [True, False])
def test_the_processes_keep_what_python_compiled_for_one_another(
    heavy: Artifact, monkeypatch: pytest.MonkeyPatch, forbidden: bool
) -> None:
    folders: list[str | None] = []
    answer = b'{"empty":1,"runtime":2,"load":3,"first_run":4,"peak":5,"device":"cpu"}'

    def run(command: object, *, env: dict[str, str], **options: object) -> subprocess.CompletedProcess[bytes]:
        assert "PYTHONDONTWRITEBYTECODE" not in env
        folders.append(env.get("PYTHONPYCACHEPREFIX"))
        return subprocess.CompletedProcess((), 0, answer, b"")

    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    if forbidden:
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(sys, "dont_write_bytecode", forbidden)
    monkeypatch.setattr(subprocess, "run", run)
    measure_footprint(parse_choice("ort"), heavy, 1)
    assert len(folders) == 3
    assert len(set(folders)) == 1
    assert (folders[0] is not None) is forbidden

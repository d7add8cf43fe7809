"""Rebuilding the network of an artifact, and when that is refused."""

from __future__ import annotations

import logging
import re
import shutil
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgecnn.artifact import Artifact, file_sha256
from edgecnn.cards import find_card
from edgecnn.engines import EngineOptions
from edgecnn.engines import torch as torch_engine
from edgecnn.engines.torch import CompiledTorchEngine, TorchEngine
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.spec import WeightsId
from edgecnn.weights import Network, load_network

ALONE = EngineOptions(threads=1)
BATCH = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)


def refusal(artifact: Artifact) -> EngineUnavailableError:
    with pytest.raises(EngineUnavailableError) as caught:
        TorchEngine(artifact, ALONE)
    return caught.value


def with_spec(artifact: Artifact, **changes: Any) -> Artifact:
    return Artifact(artifact.path, replace(artifact.spec, **changes))


def with_weights(artifact: Artifact, **changes: Any) -> Artifact:
    return with_spec(artifact, weights=replace(artifact.spec.weights, **changes))


def test_random_weights_are_made_again_from_their_seed(dynamic: Artifact) -> None:
    artifact = with_spec(dynamic, weights=WeightsId(kind="random", name="seed=5"))
    module = load_network(find_card("cifar_resnet20"), "random", seed=5).module
    with TorchEngine(artifact, ALONE) as engine, torch.inference_mode():
        assert np.allclose(engine.run(BATCH), module(torch.tensor(BATCH)).numpy(), atol=1e-5)


def test_weights_are_found_beside_the_artifact(dynamic: Artifact, tmp_path: Path) -> None:
    weights = Path(dynamic.spec.weights.name)
    shutil.copy(weights, tmp_path)
    moved = with_weights(dynamic, name=f"/no/such/folder/{weights.name}")
    assert f"neither {moved.spec.weights.name} nor" in refusal(Artifact(Path("/m.onnx"), moved.spec)).problem
    with TorchEngine(Artifact(tmp_path / "m.onnx", moved.spec), ALONE) as engine:
        assert engine.run(BATCH).shape == (2, 10)


def test_weights_that_are_gone_are_named_with_their_hash(dynamic: Artifact, tmp_path: Path) -> None:
    gone = Artifact(tmp_path / "m.onnx", with_weights(dynamic, name="/gone/w.pth").spec)
    error = refusal(gone)
    for word in ("/gone/w.pth", str(tmp_path / "w.pth"), str(dynamic.spec.weights.sha256)):
        assert word in error.problem
    assert "--engine ort" in error.remedy


def test_weights_that_changed_are_named_with_both_hashes(dynamic: Artifact, tmp_path: Path) -> None:
    changed = tmp_path / "w.pth"
    changed.write_bytes(b"something else")
    error = refusal(with_weights(dynamic, name=str(changed)))
    for word in (str(changed), file_sha256(changed), str(dynamic.spec.weights.sha256)):
        assert word in error.problem


def test_a_file_named_as_a_choice_is_a_file(
    dynamic: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(dynamic.spec.weights.name, tmp_path / "random")
    monkeypatch.chdir(tmp_path)
    with (
        TorchEngine(dynamic, ALONE) as plain,
        TorchEngine(with_weights(dynamic, name="random"), ALONE) as odd,
    ):
        assert np.array_equal(plain.run(BATCH), odd.run(BATCH))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"weights": WeightsId(kind="unknown", name="m.onnx")}, "not exported by edgecnn"),
        ({"precision": "int8"}, "runs in int8"),
        ({"scores": "probabilities"}, "answers probabilities"),
        ({"network": "my_own_net"}, "knows no such network"),
        ({"weights": WeightsId(kind="random", name="by hand")}, "'by hand' names no seed"),
    ],
)
def test_only_an_unchanged_export_can_be_rebuilt(
    dynamic: Artifact, changes: dict[str, Any], problem: str
) -> None:
    error = refusal(with_spec(dynamic, **changes))
    assert problem in error.problem
    assert "--engine ort" in error.remedy


def test_published_weights_that_cannot_be_had(dynamic: Artifact) -> None:
    error = refusal(with_spec(dynamic, weights=WeightsId(kind="pretrained", name="V1", sha256="00")))
    assert "no published weights for cifar_resnet20" in error.problem


def test_published_weights_that_changed(
    dynamic: Artifact, network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def download(*_: object, **options: Any) -> Network:
        options["announce"]("Downloading it from there")
        return replace(network, weights=WeightsId(kind="pretrained", name="V1", sha256="new"))

    monkeypatch.setattr(torch_engine, "load_network", download)
    error = refusal(with_spec(dynamic, weights=WeightsId(kind="pretrained", name="V1", sha256="old")))
    assert re.search("'V1' have the SHA-256 new, and those of the export had old", error.problem)
    assert caplog.record_tuples == [(torch_engine.__name__, logging.WARNING, "Downloading it from there")]


class Choosy(nn.Module):
    """Branches on its input's values, which no compiler can do ahead; fails on large ones."""

    def forward(self, x: Tensor) -> Tensor:
        if x.max() > 100:
            raise RuntimeError("too large\nfor words")
        return x.flatten(1)[:, :10]


@pytest.fixture
def choosy(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch_engine, "load_network", lambda *_, **__: replace(network, module=Choosy().eval())
    )


@pytest.mark.usefixtures("choosy")
def test_a_run_that_fails_says_why(dynamic: Artifact) -> None:
    with TorchEngine(dynamic, ALONE) as engine, pytest.raises(EngineError) as caught:
        engine.run(BATCH + 100)
    assert caught.value.problem == "PyTorch failed to run 'cifar_resnet20': too large"


@pytest.mark.usefixtures("choosy")
def test_a_network_that_does_not_compile_whole_is_an_error(dynamic: Artifact) -> None:
    with pytest.raises(EngineError, match="failed to compile 'cifar_resnet20'") as caught:
        CompiledTorchEngine(dynamic, ALONE)
    assert "Use the engine torch" in caught.value.remedy


def test_without_a_compiler_the_error_names_it(dynamic: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EngineUnavailableError, match="no no-such-compiler"):
        CompiledTorchEngine(dynamic, ALONE)
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineUnavailableError, match=r"no (g|clang)\+\+") as caught:
        CompiledTorchEngine.check()
    assert "apt install g++" in caught.value.remedy


def test_without_pythons_headers_the_error_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "sh")  # any program will do
    monkeypatch.setattr(sysconfig, "get_path", lambda _: "/nowhere")
    with pytest.raises(EngineUnavailableError, match=r"/nowhere/Python\.h") as caught:
        CompiledTorchEngine.check()
    assert "python3-dev" in caught.value.remedy

"""One tiny real network, exported three ways, for every engine to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn.architectures.normalisation import with_preprocess
from edgecnn.artifact import Artifact, file_sha256, graph_input, graph_output, save_artifact
from edgecnn.cards import find_card
from edgecnn.engines import Engine, open_engine
from edgecnn.engines.base import Batch, Scores
from edgecnn.engines.fake import FakeEngine, pixel_sums
from edgecnn.errors import EngineUnavailableError
from edgecnn.export.exporter import to_onnx
from edgecnn.export.settings import ExportSettings
from edgecnn.spec import ModelSpec, WeightsId
from edgecnn.weights import Network, load_network


@dataclass(frozen=True)
class Model:
    """An artifact, and what its origin answers."""

    artifact: Artifact
    reference: Callable[[Batch], Scores]

    def batch(self, images: int, seed: int = 0) -> Batch:
        """Random pixels as the model takes them, each image of another brightness."""
        shape = (images, *(size for size in self.artifact.spec.input.shape[1:] if isinstance(size, int)))
        rng = np.random.default_rng(seed)
        if self.artifact.spec.preprocess.in_graph:
            return rng.integers(0, 256, shape, np.uint8)
        return (rng.normal(size=shape) + rng.normal(size=(images, 1, 1, 1))).astype(np.float32)


def export(network: Network, path: Path, settings: ExportSettings) -> Model:
    """The exporter without its verification, which runs an engine."""
    preprocess = replace(network.preprocess, in_graph=settings.input == "uint8")
    module = with_preprocess(network.module, preprocess).eval()
    size = settings.batch or 2
    example = torch.zeros(size, 32, 32, 3).byte() if preprocess.in_graph else torch.zeros(size, 3, 32, 32)
    model = to_onnx(module, example, settings)
    spec = ModelSpec(
        network=network.card.name,
        classes=network.classes,
        input=graph_input(model),
        output=graph_output(model),
        preprocess=preprocess,
        weights=network.weights,
    )
    return Model(save_artifact(model, spec, path), answers_of(module))


def answers_of(module: nn.Module) -> Callable[[Batch], Scores]:
    """``module`` as a function of arrays."""

    def run(batch: Batch) -> Scores:
        with torch.inference_mode():
            scores: Scores = module(torch.from_numpy(batch.copy())).numpy()
        return scores

    return run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="session")
def network(folder: Path) -> Network:
    """CIFAR ResNet-20 from a file of weights, with scores of order 1."""
    card = find_card("cifar_resnet20")
    state = load_network(card, "random", seed=1).module.state_dict()
    path = folder / "weights.pth"
    torch.save(state, path)
    network = load_network(card, str(path), classes=card.classes)
    assert network.weights == WeightsId(kind="file", name=str(path), sha256=file_sha256(path))
    return network


@pytest.fixture(scope="session")
def dynamic(folder: Path, network: Network) -> Model:
    """(batch, 3, 32, 32) float32."""
    return export(network, folder / "dynamic.onnx", ExportSettings(exporter="torchscript"))


@pytest.fixture(scope="session")
def pixels(folder: Path, network: Network) -> Model:
    """(batch, 32, 32, 3) uint8."""
    settings = ExportSettings(exporter="torchscript", input="uint8")
    return export(network, folder / "pixels.onnx", settings)


@pytest.fixture(scope="session")
def fixed(folder: Path, network: Network) -> Model:
    """(2, 3, 32, 32) float32."""
    settings = ExportSettings(exporter="torchscript", batch=2)
    return export(network, folder / "fixed.onnx", settings)


def opened(name: str, model: Model) -> Engine:
    """The engine ``name`` with ``model`` in it; skips the test, with the reason, where it cannot open."""
    if name == "fake":
        return FakeEngine(model.artifact.spec)
    try:
        return open_engine(name, model.artifact)
    except EngineUnavailableError as error:
        pytest.skip(str(error))


def expected(name: str, model: Model, batch: Batch) -> Scores:
    """What the engine ``name`` has to answer."""
    if name == "fake":
        return pixel_sums(batch, len(model.artifact.spec.classes))
    return model.reference(batch)

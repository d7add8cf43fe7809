"""One tiny real network, CIFAR ResNet-20, exported three ways for the engines to run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgecnn.architectures.normalisation import with_preprocess
from edgecnn.artifact import Artifact, graph_input, graph_output, save_artifact
from edgecnn.cards import find_card
from edgecnn.export.exporter import to_onnx
from edgecnn.export.settings import ExportSettings
from edgecnn.spec import ModelSpec
from edgecnn.weights import Network, load_network


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="session")
def network(folder: Path) -> Network:
    """The network with its weights in a file."""
    card = find_card("cifar_resnet20")
    path = folder / "weights.pth"
    torch.save(load_network(card, "random", seed=1).module.state_dict(), path)
    return load_network(card, str(path), classes=card.classes)


@pytest.fixture(scope="session")
def dynamic(folder: Path, network: Network) -> Artifact:
    """(batch, 3, 32, 32) float32."""
    return _exported(network, folder / "dynamic.onnx", ExportSettings(exporter="torchscript"))


@pytest.fixture(scope="session")
def pixels(folder: Path, network: Network) -> Artifact:
    """(batch, 32, 32, 3) uint8."""
    settings = ExportSettings(exporter="torchscript", input="uint8")
    return _exported(network, folder / "pixels.onnx", settings)


@pytest.fixture(scope="session")
def fixed(folder: Path, network: Network) -> Artifact:
    """(2, 3, 32, 32) float32."""
    return _exported(network, folder / "fixed.onnx", ExportSettings(exporter="torchscript", batch=2))


def _exported(network: Network, path: Path, settings: ExportSettings) -> Artifact:
    """An export without the exporter's verification, which already runs an engine."""
    preprocess = replace(network.preprocess, in_graph=settings.input == "uint8")
    module = with_preprocess(network.module, preprocess).eval()
    shape = (2, 32, 32, 3) if preprocess.in_graph else (2, 3, 32, 32)
    model = to_onnx(module, torch.zeros(shape, dtype=getattr(torch, settings.input)), settings)
    spec = ModelSpec(
        network=network.card.name,
        classes=network.classes,
        input=graph_input(model),
        output=graph_output(model),
        preprocess=preprocess,
        weights=network.weights,
    )
    return save_artifact(model, spec, path)

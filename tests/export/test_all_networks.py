"""Every network on the list: exports with a dynamic batch, folds batch norm, and agrees with PyTorch."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edgecnn.artifact import open_artifact, read_onnx
from edgecnn.cards import card_names, find_card
from edgecnn.export.network import export_network
from edgecnn.export.settings import ExportSettings
from edgecnn.weights import load_network

#: Coverage would double the time of the exporter, which is all Python; test_network covers the same lines.
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

#: Where batch norm follows a sum, a concatenation or a pool there is no convolution to fold it into.
NORM_AFTER_SUM = {
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *("resnetv2_50", "resnetv2_101", "nasnetalarge"),
}


@pytest.fixture(autouse=True)
def _one_thread_and_a_clean_desk() -> Iterator[None]:
    """The largest networks hold gigabytes; two workers must not hold two each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    gc.collect()


@pytest.mark.parametrize("name", card_names())
def test_export_agrees_with_pytorch_at_every_batch_size(name: str, tmp_path: Path) -> None:
    card = find_card(name)
    network = load_network(card, "random", seed=1)
    path = tmp_path / "model.onnx"
    export_network(network, ExportSettings(size=card.smallest), path)
    spec = open_artifact(path).spec
    height, width = card.smallest
    assert spec.input.shape == ("batch", card.preprocess.channels, height, width)
    assert spec.output.shape == ("batch", len(card.classes))
    parity = spec.provenance.parity
    assert parity is not None
    assert parity.max_rel < 1e-4, "float32 sums in another order differ by less"
    assert parity.top1_agreement == 100.0
    operators = {node.op_type for node in read_onnx(path).graph.node}
    assert ("BatchNormalization" in operators) == (name in NORM_AFTER_SUM)


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121", "googlenet", "resnetv2_50", "lenet5"])
def test_old_opset_for_old_runtimes(name: str, tmp_path: Path) -> None:
    card = find_card(name)
    settings = ExportSettings(size=card.smallest, opset=17, exporter="torchscript")
    export_network(load_network(card, "random", seed=1), settings, tmp_path / "model.onnx")
    assert read_onnx(tmp_path / "model.onnx").opset_import[0].version == 17

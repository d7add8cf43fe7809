"""The whole export: what is written, what it carries, and that a wrong export leaves nothing."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgecnn.artifact import open_artifact
from edgecnn.cards import find_card
from edgecnn.engines import open_engine
from edgecnn.errors import ArtifactError, ExportError
from edgecnn.export import exporter
from edgecnn.export import network as module
from edgecnn.export.images import builtin_images, parity_batch
from edgecnn.export.network import export_network, resized
from edgecnn.export.settings import ExportSettings
from edgecnn.preprocess import prepare
from edgecnn.spec import Preprocess
from edgecnn.weights import Network, load_network

SMALL = ExportSettings(size=(32, 32))


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network(find_card("squeezenet1_1"), "random", seed=1)


@pytest.fixture
def broken_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that gets the last convolution wrong."""
    right = exporter.to_onnx

    def wrong(*arguments: object) -> onnx.ModelProto:
        model = right(*arguments)  # type: ignore[arg-type]
        tensor = next(item for item in model.graph.initializer if item.name == "classifier.1.weight")
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
        return model

    monkeypatch.setattr(module, "to_onnx", wrong)


def _answers(network: Network, path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """PyTorch's scores of two photographs, and the artifact's."""
    artifact = open_artifact(path)
    plain = replace(artifact.spec, preprocess=replace(artifact.spec.preprocess, in_graph=False))
    plain = replace(plain, input=replace(plain.input, dtype="float32"))
    images = builtin_images()[:2]
    with torch.inference_mode():
        expected = network.module(torch.stack([torch.from_numpy(prepare(image, plain)) for image in images]))
    with open_engine("ort", artifact) as engine:
        answer = np.concatenate([engine.run(parity_batch([image], artifact.spec, 1)) for image in images])
    return expected, torch.from_numpy(answer)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("input_type", ["float32", "uint8"])
def test_the_artifact_answers_as_pytorch_and_carries_its_spec(
    network: Network,
    exporter: Literal["dynamo", "torchscript"],
    input_type: Literal["float32", "uint8"],
    tmp_path: Path,
) -> None:
    settings = ExportSettings(size=(48, 64), exporter=exporter, input=input_type)
    export_network(network, settings, tmp_path / "m.onnx")
    spec = open_artifact(tmp_path / "m.onnx").spec
    assert spec.network == "squeezenet1_1"
    assert spec.preprocess.crop == (48, 64)
    assert spec.input.dtype == input_type
    assert spec.input.shape == (("batch", 48, 64, 3) if input_type == "uint8" else ("batch", 3, 48, 64))
    assert spec.classes == network.classes
    assert spec.weights == network.weights
    assert spec.provenance.exporter == exporter
    assert spec.provenance.versions["torch"] == torch.__version__.partition("+")[0]
    assert spec.provenance.parity is not None
    assert spec.provenance.parity.images == 8
    assert spec.provenance.parity.top1_agreement == 100.0
    torch.testing.assert_close(*_answers(network, tmp_path / "m.onnx"), rtol=1e-4, atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.slow
def test_a_fixed_batch(network: Network, tmp_path: Path) -> None:
    artifact = export_network(network, replace(SMALL, batch=3), tmp_path / "m.onnx")
    assert artifact.spec.input.shape == (3, 3, 32, 32)
    assert artifact.spec.output.shape == (3, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 20])
def test_the_opset_is_what_was_asked_for(network: Network, opset: int, tmp_path: Path) -> None:
    export_network(network, replace(SMALL, opset=opset), tmp_path / "m.onnx")
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset


@pytest.mark.usefixtures("broken_exporter")
def test_a_wrong_export_fails_names_the_layer_and_keeps_the_old_file(
    network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"the old one")
    with pytest.raises(ExportError, match=r"first part ways at module 'classifier\.1'.*'features\.12"):
        export_network(network, SMALL, path)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.usefixtures("broken_exporter")
def test_a_wrong_export_leaves_no_file(network: Network, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="No file was written"):
        export_network(network, SMALL, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_file(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"the old one")

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="No space left"):
        export_network(network, SMALL, path)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_an_interrupt_leaves_nothing_behind(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "check_parity", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_network(network, SMALL, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_folder_that_cannot_be_made(network: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="another place with -o"):
        export_network(network, SMALL, tmp_path / "file" / "m.onnx")


@pytest.mark.slow
def test_weights_that_answer_nan(network: Network, tmp_path: Path) -> None:
    broken = load_network(network.card, "random", seed=2)
    with torch.no_grad():
        next(broken.module.parameters()).fill_(float("nan"))
    with pytest.raises(ExportError, match="PyTorch itself answers NaN"):
        export_network(broken, SMALL, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("resize", "size", "expected"),
    [
        (256, (112, 112), 128),
        (256, (224, 224), 256),
        (256, (112, 224), 256),
        ((232, 232), (112, 224), (116, 232)),
        (None, (64, 64), (64, 64)),
    ],
)
def test_the_margin_around_the_crop_stays_in_proportion(
    resize: int | tuple[int, int] | None, size: tuple[int, int], expected: int | tuple[int, int]
) -> None:
    changed = resized(Preprocess(resize=resize, crop=(224, 224)), size)
    assert (changed.crop, changed.resize) == (size, expected)

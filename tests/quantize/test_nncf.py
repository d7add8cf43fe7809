"""NNCF's quantisation: what it keeps, that it is quiet and repeatable, and what it refuses."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import rich
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn.artifact import graph_input, graph_output
from edgecnn.errors import ImageError, QuantizationError

if find_spec("nncf") is None:  # importorskip would import it, and so report to Intel
    pytest.skip("NNCF is not installed", allow_module_level=True)

from edgecnn.quantize.nncf import NncfSettings, quantize_with_nncf
from tests.quantize.running import operators

Export = Callable[[str], onnx.ModelProto]

IMAGES = 4


@dataclass(frozen=True)
class Images:
    """The same ones each time."""

    count: int = IMAGES

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        rng = np.random.default_rng(0)
        for _ in range(self.count):
            yield rng.normal(size=(1, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def model(export: Export) -> onnx.ModelProto:
    """With a bias of its own for each convolution: where they are all 0, the exporter stores one or none."""
    model = onnx.ModelProto()
    model.CopyFrom(export("cifar_resnet20"))
    model.metadata_props.add(key="some", value="metadata")
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv":
            bias = np.random.default_rng(0).normal(size=shapes[node.input[1]][0]).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(bias, f"{node.name}.bias"))
            node.input[2:] = [f"{node.name}.bias"]
    return model


def quantised(model: onnx.ModelProto, **settings: object) -> onnx.ModelProto:
    return quantize_with_nncf(model, Images(), "input", NncfSettings(**settings))  # type: ignore[arg-type]


def zero_points(model: onnx.ModelProto) -> set[int]:
    """Of the activations."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    names = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    return {int(numpy_helper.to_array(stored[name])) for name in names}


def test_what_it_keeps_and_that_it_is_quiet(
    model: onnx.ModelProto, capfd: pytest.CaptureFixture[str]
) -> None:
    before = model.SerializeToString()
    result = quantised(model)
    assert model.SerializeToString() == before
    assert graph_input(result) == graph_input(model)
    assert graph_output(result) == graph_output(model)
    assert list(result.metadata_props) == list(model.metadata_props)
    assert list(result.opset_import) == list(model.opset_import)
    onnx.checker.check_model(result, full_check=True)
    assert operators(result)["QuantizeLinear"] > 20
    assert len(result.SerializeToString()) < 0.4 * len(before)
    assert capfd.readouterr() == ("", "")
    assert not rich.get_console().quiet
    assert logging.getLogger("nncf").level < logging.CRITICAL
    assert quantised(model) == result


@pytest.mark.slow
def test_settings_reach_it(model: onnx.ModelProto) -> None:
    last = next(node.name for node in reversed(model.graph.node) if node.op_type == "Gemm")
    plain, symmetric = quantised(model), quantised(model, preset="performance")
    assert operators(quantised(model, ignored=(last,)))["QuantizeLinear"] < operators(plain)["QuantizeLinear"]
    assert zero_points(symmetric) == {0}
    assert zero_points(plain) > {0}
    assert quantised(model, subset_size=1) != plain
    assert quantised(model, fast_bias_correction=False) != plain


def test_what_it_refuses(model: onnx.ModelProto) -> None:
    with pytest.raises(QuantizationError, match="no image to calibrate with"):
        quantize_with_nncf(model, Images(0), "input", NncfSettings())
    with pytest.raises(QuantizationError, match=r"NNCF 3.*nowhere") as caught:
        quantised(model, ignored=("nowhere",))
    assert "is to stay in float" in caught.value.remedy
    with pytest.raises(QuantizationError, match=r"NNCF 3.*wrong"):
        quantize_with_nncf(model, Images(), "wrong", NncfSettings())
    with pytest.raises(ValueError, match="more than once"):
        quantize_with_nncf(model, iter(Images()), "input", NncfSettings())


def test_an_old_opset(model: onnx.ModelProto) -> None:
    old = onnx.ModelProto()
    old.CopyFrom(model)
    old.opset_import[0].version = 12
    with pytest.raises(QuantizationError, match="opset 12, and quantisation per channel needs 13"):
        quantised(old)


def test_what_the_images_raise_is_passed_on(model: onnx.ModelProto) -> None:
    class Broken:
        def __iter__(self) -> Iterator[NDArray[np.float32]]:
            yield next(iter(Images()))
            raise ImageError("cat.jpg", "is truncated")

    with pytest.raises(ImageError, match=r"cat\.jpg"):
        quantize_with_nncf(model, Broken(), "input", NncfSettings())


@pytest.mark.slow
def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    """In a fresh process, outside CI and pytest, where NNCF would report."""
    script = "import sys, edgecnn.quantize.nncf; print([m for m in sys.modules if 'openvino_tele' in m])"
    home = {key: value for key, value in os.environ.items() if key not in {"CI", "NNCF_CI"}}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=home | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
    assert done.stderr == ""
    assert not (tmp_path / "intel").exists()

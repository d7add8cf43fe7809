"""Dynamic int8: products alone, with the names that users know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from edgecnn.artifact import graph_input, graph_output, open_artifact, read_onnx
from edgecnn.cards import find_card
from edgecnn.errors import QuantizationError, UnknownNameError
from edgecnn.export.network import export_network
from edgecnn.export.settings import ExportSettings
from edgecnn.quantize.dynamic import quantize_dynamically
from edgecnn.weights import load_network
from tests.quantize.running import answers, operators

GraphOf = Callable[..., onnx.ModelProto]

RNG = np.random.default_rng(0)
CONSTANTS = {
    "w": RNG.normal(size=(16, 192)).astype(np.float32),
    "again": RNG.normal(size=(16, 16)).astype(np.float32),
    "bias": RNG.normal(size=16).astype(np.float32),
}
NODES = "f = Flatten(x) a = Gemm<transB=1>(f, w, bias) b = Relu(a) c = Gemm(b, again) y = MatMul(c, again)"


@pytest.fixture
def model(graph_of: GraphOf) -> onnx.ModelProto:
    return graph_of(NODES, CONSTANTS)


def images(batch: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(batch, 3, 8, 8)).astype(np.float32)


def off_by(model: onnx.ModelProto, reference: onnx.ModelProto) -> float:
    """The largest error of one answer, relative to the largest answer."""
    expected = answers(reference, images())
    return float(np.abs(answers(model, images()) - expected).max() / np.abs(expected).max())


def test_what_it_keeps(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    result = quantize_dynamically(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(result, full_check=True)
    assert (graph_input(result), graph_output(result)) == (graph_input(model), graph_output(model))
    assert list(result.opset_import) == list(model.opset_import)
    assert operators(result)["MatMulInteger"] == 3
    assert {"a_quant", "c_quant", "y_quant", "f", "b"} <= {node.name for node in result.graph.node}
    assert off_by(result, model) < 0.05, "three products in a row, each off by about 1 %"
    assert quantize_dynamically(model) == result


def test_kept_products_stay_as_they_are(model: onnx.ModelProto) -> None:
    """``c`` shares its weights with ``y``."""
    result = quantize_dynamically(model, ["a", "y"])
    nodes = {node.name: node for node in result.graph.node}
    originals = {node.name: node for node in model.graph.node}
    assert nodes["a"] == originals["a"]
    assert nodes["y"].op_type == "MatMul"
    assert operators(result)["MatMulInteger"] == 1
    assert list(result.opset_import) == list(model.opset_import)
    assert off_by(result, model) < 0.03


def test_convolutions_stay_in_float(graph_of: GraphOf) -> None:
    """ONNX Runtime's ConvInteger is several times slower than its float convolution."""
    weights = CONSTANTS | {"k": np.ones((3, 3, 1, 1), np.float32)}
    result = quantize_dynamically(graph_of("p = Conv(x, k) f = Flatten(p) y = Gemm<transB=1>(f, w)", weights))
    assert operators(result)["Conv"] == 1
    assert operators(result)["MatMulInteger"] == 1


def test_weights_of_seven_bits(model: onnx.ModelProto) -> None:
    result = quantize_dynamically(model, reduce_range=True)
    stored = [
        t for t in result.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 2
    ]
    assert stored
    assert all(np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max() <= 64 for tensor in stored)


def test_what_it_refuses(model: onnx.ModelProto, graph_of: GraphOf) -> None:
    with pytest.raises(UnknownNameError, match="no node named 'nowhere'"):
        quantize_dynamically(model, ["nowhere"])
    with pytest.raises(QuantizationError, match="no matrix product with constant weights") as caught:
        quantize_dynamically(graph_of("y = Relu(x)", {}))
    assert "--recipe auto" in caught.value.remedy
    model.opset_import[0].version = 10
    with pytest.raises(QuantizationError, match="opset 10, and dynamic quantisation needs 11"):
        quantize_dynamically(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x1_0", "lenet5"])
def test_exports(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    card = find_card(name)
    export_network(
        load_network(card, "random", seed=1), ExportSettings(size=card.smallest), tmp_path / "model.onnx"
    )
    model = read_onnx(tmp_path / "model.onnx")
    result = quantize_dynamically(model)
    onnx.checker.check_model(result, full_check=True)
    onnx.save(result, tmp_path / "dynamic.onnx")
    assert open_artifact(tmp_path / "dynamic.onnx").spec == open_artifact(tmp_path / "model.onnx").spec
    shape = (2, *(int(size) for size in graph_input(model).shape[1:]))
    batch = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = answers(model, batch)
    assert np.abs(answers(result, batch) - expected).max() < 0.05 * np.abs(expected).max()

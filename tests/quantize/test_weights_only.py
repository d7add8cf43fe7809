"""Weights as integers: smaller, near enough, and as fast as float where they run."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn.artifact import graph_input, graph_output, open_artifact, read_onnx
from edgecnn.cards import find_card
from edgecnn.errors import QuantizationError, UnknownNameError
from edgecnn.export.network import export_network
from edgecnn.export.settings import ExportSettings
from edgecnn.quantize.weights_only import quantize_weights
from edgecnn.weights import load_network
from tests.quantize.running import answers, built_for_rtx, operators

Export = Callable[[str], onnx.ModelProto]
GraphOf = Callable[..., onnx.ModelProto]

WEIGHTS = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)


def optimised(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """What ONNX Runtime really runs."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), settings)
    return onnx.load(folder / "optimised.onnx")


def stored(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("dequantize_linear", [False, True])
def test_what_it_keeps(export: Export, *, dequantize_linear: bool) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(export("cifar_resnet20"))
    model.metadata_props.add(key="some", value="metadata")
    before = model.SerializeToString()
    small = quantize_weights(model, dequantize_linear=dequantize_linear)
    assert model.SerializeToString() == before
    onnx.checker.check_model(small, full_check=True)
    assert (graph_input(small), graph_output(small)) == (graph_input(model), graph_output(model))
    assert list(small.metadata_props) == list(model.metadata_props)
    assert list(small.opset_import) == list(model.opset_import)
    names = [node.name for node in small.graph.node]
    assert {node.name for node in model.graph.node} <= set(names)
    assert len(set(names)) == len(names)
    assert len(small.SerializeToString()) < 0.3 * len(before)
    batch = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    expected = answers(model, batch)
    assert np.abs(answers(small, batch) - expected).max() < 0.1 * np.abs(expected).max()


def test_the_engine_runs_it_as_the_float_model(export: Export, tmp_path: Path) -> None:
    """The very same operators, so that it is as fast; with DequantizeLinear it would not be."""
    model = export("cifar_resnet20")
    run = operators(optimised(quantize_weights(model), tmp_path))
    assert run == operators(optimised(model, tmp_path))
    slow = operators(optimised(quantize_weights(model, dequantize_linear=True), tmp_path))
    assert slow["DequantizeLinear"] > 0


def test_both_forms_answer_alike(export: Export) -> None:
    model = export("cifar_resnet20")
    batch = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    one = answers(quantize_weights(model), batch)
    other = answers(quantize_weights(model, dequantize_linear=True), batch)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(one).max())  # sums in another order


@given(
    weights=arrays.arrays(
        np.float32, (3, 40), elements=st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)
    ),
    transposed=st.booleans(),
)
def test_no_weight_is_off_by_more_than_half_a_step(
    graph_of: GraphOf, *, weights: NDArray[np.float32], transposed: bool
) -> None:
    shown = weights if transposed else np.ascontiguousarray(weights.T)
    nodes = f"f = Flatten(x) y = Gemm<transB={int(transposed)}>(f, w)"
    parts = stored(quantize_weights(graph_of(nodes, {"w": shown}, image="1,1,40")))
    axis = 0 if transposed else 1
    steps, scales = parts[f"w/axis{axis}/quantized"], parts[f"w/axis{axis}/scale"]
    assert steps.dtype == np.int8
    restored = steps.astype(np.float64) * scales
    half_a_step = np.abs(shown).max(axis=1 - axis, keepdims=True).astype(np.float64) / 127 / 2
    # where a channel is so small that its scale would be no normal float, nothing is left of it
    assert (np.abs(restored - shown) <= half_a_step * (1 + 1e-4) + 127 * 1.2e-38).all()


def test_which_weights_stay(graph_of: GraphOf) -> None:
    constants = {
        "stem": np.ones((8, 3, 3, 3), np.float32),
        "depth": np.ones((8, 1, 5, 5), np.float32),
        "w": WEIGHTS,
        "more": np.ones((512, 64), np.float32),
        "line": np.ones(64, np.float32),
    }
    nodes = """a = Conv<pads=[1,1,1,1]>(x, stem) b = Conv<group=8, pads=[2,2,2,2]>(a, depth) f = Flatten(b)
        c = MatMul(f, more) d = MatMul(c, w) y = MatMul(d, line)"""
    model = graph_of(nodes, constants)
    parts = stored(quantize_weights(model, ["d"]))
    assert {"stem", "depth", "w", "more/axis1/quantized", "line/axis0/quantized"} <= parts.keys()
    assert "more" not in parts
    assert parts["more/axis1/scale"].shape == (1, 64)
    with pytest.raises(QuantizationError, match="more than 32 values per channel"):
        quantize_weights(model, ["c", "d", "y"])


def test_weights_that_nodes_share(graph_of: GraphOf) -> None:
    """One kept in float, one for each of two axes."""
    model = graph_of(
        "f = Flatten(x) a = Gemm(f, w) b = Gemm<transB=1>(a, w) c = Gemm(b, w) y = Gemm(c, w)",
        {"w": WEIGHTS},
        image="1,8,8",
    )
    parts = stored(quantize_weights(model, ["c"]))
    assert {"w", "w/axis0/quantized", "w/axis1/quantized"} <= parts.keys()
    assert len(parts) == 5


def test_what_it_refuses(graph_of: GraphOf) -> None:
    model = graph_of("f = Flatten(x) y = Gemm(f, w)", {"w": WEIGHTS}, image="1,8,8")
    with pytest.raises(UnknownNameError, match="no node named 'nowhere'"):
        quantize_weights(model, ["nowhere"])
    spoilt = graph_of("f = Flatten(x) y = Gemm(f, w)", {"w": WEIGHTS * np.float32("nan")}, image="1,8,8")
    with pytest.raises(QuantizationError, match="'w' of 'y' hold NaN or infinity"):
        quantize_weights(spoilt)
    model.opset_import[0].version = 12
    quantize_weights(model)
    with pytest.raises(QuantizationError, match=r"opset 12, .* need 13") as caught:
        quantize_weights(model, dequantize_linear=True)
    assert "--opset 18" in caught.value.remedy


@pytest.mark.tensorrt
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_tensorrt_builds_it(export: Export, tmp_path: Path) -> None:
    build = built_for_rtx(quantize_weights(export("cifar_resnet20"), dequantize_linear=True), tmp_path)
    assert build["complaints"] == []
    assert build["plan_bytes"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x1_0", "squeezenet1_1"])
@pytest.mark.parametrize("opset", [11, 17])
def test_exports(name: str, opset: int, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    card = find_card(name)
    settings = ExportSettings(size=card.smallest, opset=opset, exporter="torchscript")
    export_network(load_network(card, "random", seed=1), settings, tmp_path / "model.onnx")
    model = read_onnx(tmp_path / "model.onnx")
    small = quantize_weights(model)
    onnx.checker.check_model(small, full_check=True)
    assert operators(optimised(small, tmp_path)) == operators(optimised(model, tmp_path))
    onnx.save(small, tmp_path / "small.onnx")
    assert open_artifact(tmp_path / "small.onnx").spec == open_artifact(tmp_path / "model.onnx").spec
    assert (tmp_path / "small.onnx").stat().st_size < 0.32 * (tmp_path / "model.onnx").stat().st_size

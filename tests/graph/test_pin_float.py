"""Convolutions that a quantised model holds in float still run in float, with the same results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edgecnn.graph.pin_float import pin_float_convolutions

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]

RNG = np.random.default_rng(4)
IMAGES = RNG.normal(size=(2, 16, 8, 8)).astype(np.float32)

CONSTANTS: dict[str, NDArray[Any]] = {
    "w": RNG.normal(size=(16, 16, 3, 3)).astype(np.float32) / 12,
    "dense": RNG.normal(size=(16, 16)).astype(np.float32) / 4,
    "b": RNG.normal(size=16).astype(np.float32),
    "scale": np.array(4 / 127, np.float32),
    "middle": np.array(128, np.uint8),
    "to6": np.array(6 / 255, np.float32),
    "to3": np.array(3 / 255, np.float32),
    "to9": np.array(9 / 255, np.float32),
    "bottom": np.array(0, np.uint8),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
}
HEAD = """q = QuantizeLinear(x, scale, middle) d = DequantizeLinear(q, scale, middle)
    c = Conv<pads=[1,1,1,1]>(d, w, b)"""

#: What follows the convolution "c", with the range that its values are quantised to.
TAILS = {
    "nothing": ("", "c", "scale", "middle"),
    "Relu": ("a = Relu(c)", "a", "to6", "bottom"),
    "Clip": ("a = Clip(c, zero, six)", "a", "to6", "bottom"),
    "Clip quantised to less": ("a = Clip(c, zero, six)", "a", "to3", "bottom"),
    "Clip quantised to more": ("a = Clip(c, zero, six)", "a", "to9", "bottom"),
    "Clip of both signs": ("a = Clip(c, scale, six)", "a", "to6", "bottom"),
    "Clip from above": ("a = Clip(c, , six)", "a", "scale", "middle"),
    "Clip from below": ("a = Clip(c, zero)", "a", "to6", "bottom"),
    "Clip by a value": ("k = Relu(six) a = Clip(c, zero, k)", "a", "to6", "bottom"),
}


def model_of(graph_of: GraphOf, tail: tuple[str, str, str, str]) -> onnx.ModelProto:
    nodes, value, scale, zero = tail
    pair = f"p = QuantizeLinear({value}, {scale}, {zero}) y = DequantizeLinear(p, {scale}, {zero})"
    return graph_of(f"{HEAD} {nodes} {pair}", CONSTANTS, "16,8,8")


def pinned(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy, pin_float_convolutions(copy)


def run(model: onnx.ModelProto, optimised: Path | None = None, *, exact: bool = False) -> Array:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # it warns of each optimised graph that it writes
    if optimised is not None:
        settings.optimized_model_filepath = str(optimised)
    disabled = ["WeightBiasQuantization"] if exact else None
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"], disabled_optimizers=disabled
    )
    scores: Array = session.run(None, {"x": IMAGES})[0]
    return scores


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_a_float_convolution_runs_in_float(
    graph_of: GraphOf, tmp_path: Path, tail: tuple[str, str, str, str]
) -> None:
    model, count = pinned(model_of(graph_of, tail))
    assert count == 1
    onnx.checker.check_model(model, full_check=True)
    run(model, tmp_path / "optimised.onnx")
    products = [node for node in onnx.load(tmp_path / "optimised.onnx").graph.node if "Conv" in node.op_type]
    assert [node.op_type for node in products] in (["Conv"], ["FusedConv"])


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_a_pin_changes_no_result(graph_of: GraphOf, tail: tuple[str, str, str, str]) -> None:
    model = model_of(graph_of, tail)
    exact, found = run(model, exact=True), run(pinned(model)[0])
    # The runtime may sum in another order in another kernel, so that a value between two levels falls to
    # the other one: by one step, and rarely.
    step = float(CONSTANTS[tail[2]])
    assert np.abs(found - exact).max() <= step * (1 + 1e-5)
    assert np.mean(found != exact) < 1e-3
    assert len(np.unique(exact)) > 60, "the range shows something"


@pytest.mark.parametrize(("activation", "value"), [("", "c"), ("a = Relu(c)", "a")])
def test_products_are_pinned_too(graph_of: GraphOf, activation: str, value: str) -> None:
    nodes = f"""p = GlobalAveragePool(x) f = Flatten(p) q = QuantizeLinear(f, scale, middle)
        d = DequantizeLinear(q, scale, middle) c = Gemm<transB=1>(d, dense, b) {activation}
        e = QuantizeLinear({value}, scale, middle) y = DequantizeLinear(e, scale, middle)"""
    model = graph_of(nodes, CONSTANTS, "16,8,8")
    changed, count = pinned(model)
    assert count == 1
    exact = run(model, exact=True)
    assert np.abs(run(changed) - exact).max() <= float(CONSTANTS["scale"]) * (1 + 1e-5)


def test_nodes_without_names_are_told_apart(graph_of: GraphOf) -> None:
    nodes = f"""{HEAD} p = QuantizeLinear(c, scale, middle) e = DequantizeLinear(p, scale, middle)
        g = Conv(e, w, b) h = QuantizeLinear(g, scale, middle) y = DequantizeLinear(h, scale, middle)"""
    model = graph_of(nodes, CONSTANTS, "16,8,8")
    for node in model.graph.node:
        node.name = ""
    changed, count = pinned(model)
    assert count == 2
    assert [node.op_type for node in changed.graph.node].count("LeakyRelu") == 2
    onnx.checker.check_model(changed, full_check=True)


@pytest.mark.parametrize(
    "tail",
    [
        "y = Relu(c)",
        "r = Relu(c) p = QuantizeLinear(r, to6, bottom) e = DequantizeLinear(p, to6, bottom) y = Add(e, r)",
        "s = Sigmoid(c) p = QuantizeLinear(s, to6, bottom) y = DequantizeLinear(p, to6, bottom)",
    ],
)
def test_what_the_runtime_leaves_in_float_stays(graph_of: GraphOf, tail: str) -> None:
    model = graph_of(f"{HEAD} {tail}", CONSTANTS, "16,8,8")
    changed, count = pinned(model)
    assert count == 0
    assert changed.SerializeToString() == model.SerializeToString()


def test_quantised_convolutions_stay_quantised(graph_of: GraphOf, tmp_path: Path) -> None:
    weights = {"stored": RNG.integers(-127, 128, (16, 16, 3, 3)).astype(np.int8), "ws": np.float32(0.002)}
    nodes = """q = QuantizeLinear(x, scale, middle) d = DequantizeLinear(q, scale, middle)
        k = DequantizeLinear(stored, ws) c = Conv(d, k)
        p = QuantizeLinear(c, scale, middle) y = DequantizeLinear(p, scale, middle)"""
    model, count = pinned(graph_of(nodes, CONSTANTS | weights, "16,8,8"))
    assert count == 0
    run(model, tmp_path / "optimised.onnx")
    assert "QLinearConv" in {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}

"""Hard gates that a graph spells out become HardSigmoid; what only looks like one stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecnn.graph.hard_gates import open_hard_gates
from edgecnn.graph.join_gates import join_hard_gates

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]

#: Across both kinks of the gates, which are at -3 and 3.
IMAGES = np.random.default_rng(0).uniform(-6, 6, size=(2, 3, 8, 8)).astype(np.float32)
CONSTANTS = {
    "three": np.float32(3),
    "zero": np.float32(0),
    "six": np.float32(6),
    "sixth": np.float32(1 / 6),
    "half": np.float32(0.5),
    "row": np.full((1, 1, 1, 1, 1), 3, np.float32),
}
CLIP = "a = Add(x, three) c = Clip(a, zero, six)"


def run(model: onnx.ModelProto) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores: Array = session.run(["y"], {"x": IMAGES})[0]
    return scores


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def joins(model: onnx.ModelProto, count: int = 1) -> None:
    before = run(model)
    assert join_hard_gates(model) == count
    onnx.checker.check_model(model, full_check=True)
    # Values of up to 12 in float32, divided by 6 before or after the product.
    np.testing.assert_allclose(run(model), before, rtol=0, atol=3e-6)


@given(
    add=st.sampled_from(["Add(x, three)", "Add(three, x)"]),
    gate=st.sampled_from(["Div(c, six)", "Mul(c, sixth)", "Mul(sixth, c)"]),
    product=st.sampled_from(["Mul(x, s)", "Mul(s, x)", "Relu(s)", "Mul(s, s)"]),
    one_number=st.booleans(),
    opset=st.sampled_from([13, 14, 18]),
)
@settings(deadline=None)
def test_divided_before_the_product(
    graph_of: GraphOf, *, add: str, gate: str, product: str, one_number: bool, opset: int
) -> None:
    arrays = {"three": np.full(1, 3, np.float32), "sixth": np.full(1, 1 / 6, np.float32)}
    scalars = CONSTANTS | (arrays if one_number else {})
    model = graph_of(f"a = {add} c = Clip(a, zero, six) s = {gate} y = {product}", scalars, opset=opset)
    joins(model)
    assert operators(model)[0] == "HardSigmoid"
    assert len(model.graph.node) == 2
    assert len(open_hard_gates(model)) == 1, "which is what has int8 kernels"


@given(
    product=st.sampled_from(["Mul(x, c)", "Mul(c, x)", "Mul(r, c)", "Mul(c, half)"]),
    scale=st.sampled_from(["Div(p, six)", "Mul(p, sixth)", "Mul(sixth, p)"]),
)
@settings(deadline=None)
def test_divided_behind_the_product(graph_of: GraphOf, product: str, scale: str) -> None:
    model = graph_of(f"r = Relu(x) {CLIP} p = {product} s = {scale} y = Relu(s)", CONSTANTS)
    joins(model)
    assert operators(model) == ["Relu", "HardSigmoid", "Mul", "Relu"]


def test_at_the_output_and_one_behind_the_other(graph_of: GraphOf) -> None:
    nodes = f"{CLIP} p = Mul(x, c) h = Div(p, six) b = Add(h, three) d = Clip(b, zero, six) y = Div(d, six)"
    model = onnx.shape_inference.infer_shapes(graph_of(nodes, CONSTANTS))
    joins(model, 2)
    assert operators(model) == ["HardSigmoid", "Mul", "HardSigmoid"]
    assert {value.name for value in model.graph.value_info} <= {"h"}


def test_of_two_gates_with_one_division_one_is_joined(graph_of: GraphOf) -> None:
    nodes = f"{CLIP} n = Neg(x) b = Add(n, three) d = Clip(b, zero, six) p = Mul(c, d) y = Div(p, six)"
    joins(graph_of(nodes, CONSTANTS))


@pytest.mark.parametrize(
    ("nodes", "others"),
    [
        (f"{CLIP} y = Mul(x, c)", {}),
        (f"{CLIP} p = Mul(c, c) y = Div(p, six)", {}),
        (f"{CLIP} s = Div(c, six) y = Add(s, c)", {}),
        (f"{CLIP} s = Div(c, six) y = Add(s, a)", {}),
        (f"{CLIP} p = Mul(x, c) s = Div(p, six) y = Add(s, p)", {}),
        (f"{CLIP} y = Div(six, c)", {}),
        (f"{CLIP} y = Div(c, six)", {"three": np.float32(2.5)}),
        (f"{CLIP} y = Div(c, six)", {"three": np.array([3, 3, 3, 3, 3, 3, 3, 4], np.float32)}),
        (f"{CLIP} y = Mul(c, sixth)", {"sixth": np.float32(0.2)}),
        ("a = Add(x, row) c = Clip(a, zero, six) y = Div(c, six)", {}),
        ("a = Add(x, three) c = Clip(a, zero) y = Div(c, six)", {}),
        ("a = Sub(x, three) c = Clip(a, zero, six) y = Div(c, six)", {}),
        ("c = Clip(x, zero, six) y = Div(c, six)", {}),
    ],
)
def test_others_stay(graph_of: GraphOf, nodes: str, others: Mapping[str, Array]) -> None:
    model = graph_of(nodes, CONSTANTS | dict(others))
    before = model.SerializeToString()
    assert join_hard_gates(model) == 0
    assert model.SerializeToString() == before

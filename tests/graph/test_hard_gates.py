"""Hard gates in pieces compute what they did; scales fold into the numbers before them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edgecnn.graph.hard_gates import GATE_RANGES, fold_scales, open_hard_gates

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]

#: Across both kinks of the gates, which are at -3 and 3.
IMAGES = np.random.default_rng(0).uniform(-6, 6, size=(2, 3, 8, 8)).astype(np.float32)
SIXTH = "alpha=0.16666667, beta=0.5"


def run(model: onnx.ModelProto) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores: Array = session.run(None, {"x": IMAGES})[0]
    return scores


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    ("nodes", "gates"),
    [
        ("y = HardSwish(x)", 1),
        (f"y = HardSigmoid<{SIXTH}>(x)", 1),
        (f"s = HardSigmoid<{SIXTH}>(x) y = Mul(x, s)", 1),
        (f"a = HardSwish(x) b = HardSigmoid<{SIXTH}>(a) y = HardSwish(b)", 3),
    ],
)
@pytest.mark.parametrize("opset", [14, 18])
def test_open_gates_compute_what_closed_ones_did(
    graph_of: GraphOf, nodes: str, gates: int, opset: int
) -> None:
    model = graph_of(nodes, {}, opset=opset)
    before = run(model)
    shifted = open_hard_gates(model)
    onnx.checker.check_model(model, full_check=True)
    assert not {"HardSwish", "HardSigmoid"} & set(operators(model))
    assert len(shifted) == gates
    made = {name for node in model.graph.node for name in node.output}
    assert made.issuperset(shifted)
    # A sum of up to 9 in float32 instead of a fused one, up to three times over.
    np.testing.assert_allclose(run(model), before, rtol=0, atol=3e-6)


def test_the_pieces_stay_within_the_ranges_that_are_promised(graph_of: GraphOf) -> None:
    model = graph_of("h = HardSwish(x) y = Relu(h)", {})
    open_hard_gates(model)
    for suffix, (low, high) in GATE_RANGES.items():
        model.graph.output[0].name = f"h{suffix}"
        values = run(model)
        assert low <= values.min()
        assert values.max() <= high * (1 + 1e-6)  # 6 * (1 / 6) in float32


@pytest.mark.parametrize("attributes", ["", "<alpha=0.2, beta=0.5>", "<alpha=0.16666667, beta=0.4>"])
def test_gates_of_another_slope_stay(graph_of: GraphOf, attributes: str) -> None:
    model = graph_of(f"y = HardSigmoid{attributes}(x)", {})
    assert open_hard_gates(model) == ()
    assert operators(model) == ["HardSigmoid"]


def test_gates_that_are_kept_stay(graph_of: GraphOf) -> None:
    model = graph_of("a = HardSwish(x) b = HardSwish(a) y = Relu(b)", {})
    assert len(open_hard_gates(model, keep=["a"])) == 1
    assert operators(model)[0] == "HardSwish"
    assert operators(model).count("HardSwish") == 1


PAIR = {
    "s1": np.array(6 / 255, np.float32),
    "s2": np.array(1 / 255, np.float32),
    "zero": np.array(0, np.uint8),
    "sixth": np.array(1 / 6, np.float32),
}


def product(factor: str = "sixth") -> str:
    """x, quantised from 0 to 6, multiplied, quantised from 0 to 1."""
    return f"""q = QuantizeLinear(x, s1, zero) d = DequantizeLinear(q, s1, zero) m = Mul(d, {factor})
        p = QuantizeLinear(m, s2, zero) e = DequantizeLinear(p, s2, zero)"""


def test_a_product_folds_into_the_scale(graph_of: GraphOf) -> None:
    model = graph_of(f"{product()} y = Relu(e)", PAIR)
    before = run(model)
    assert fold_scales(model) == 1
    assert operators(model) == ["QuantizeLinear", "DequantizeLinear", "Relu"]
    onnx.checker.check_model(model, full_check=True)
    assert np.abs(run(model) - before).max() <= 1 / 255 * (1 + 1e-5)  # one step, in float32


def test_zero_points_and_several_readers(graph_of: GraphOf) -> None:
    nodes = f"{product()} f = DequantizeLinear(p, s2, zero) g = Relu(d) h = Add(e, f) y = Add(g, h)"
    shifted = PAIR | {"zero": np.array(128, np.uint8)}
    model = graph_of(nodes, shifted)
    before = run(model)
    assert fold_scales(model) == 1
    assert "Mul" not in operators(model)
    assert operators(model).count("QuantizeLinear") == 1
    assert operators(model).count("DequantizeLinear") == 3, "Relu still reads the unscaled numbers"
    assert np.abs(run(model) - before).max() <= 2 / 255 * (1 + 1e-5)  # one step of each


def test_nodes_without_names_are_told_apart(graph_of: GraphOf) -> None:
    model = graph_of(f"{product()} y = Relu(e)", PAIR)
    for node in model.graph.node:
        node.name = ""
    before = run(model)
    assert fold_scales(model) == 1
    assert operators(model) == ["QuantizeLinear", "DequantizeLinear", "Relu"]
    assert np.abs(run(model) - before).max() <= 1 / 255 * (1 + 1e-5)


def test_a_factor_may_have_dimensions(graph_of: GraphOf) -> None:
    model = graph_of(f"{product()} y = Relu(e)", PAIR | {"sixth": np.full((1, 1), 1 / 6, np.float32)})
    assert fold_scales(model) == 1


@pytest.mark.parametrize(
    "factor", [np.float32(0), np.float32(-1), np.array([[[1]], [[2]], [[3]]], np.float32)]
)
def test_other_factors_are_multiplied_as_before(graph_of: GraphOf, factor: Array) -> None:
    model = graph_of(f"{product()} y = Relu(e)", PAIR | {"sixth": factor})
    before = model.SerializeToString()
    assert fold_scales(model) == 0
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    "nodes",
    [
        "m = Mul(x, sixth) p = QuantizeLinear(m, s2, zero) y = DequantizeLinear(p, s2, zero)",
        "q = QuantizeLinear(x, s1, zero) d = DequantizeLinear(q, s1, zero) y = Mul(d, sixth)",
        f"{product()} r = Relu(m) y = Add(r, e)",
        f"{product('x')} y = Relu(e)",
    ],
)
def test_products_outside_the_pattern_stay(graph_of: GraphOf, nodes: str) -> None:
    model = graph_of(nodes, PAIR)
    assert fold_scales(model) == 0
    assert "Mul" in operators(model)

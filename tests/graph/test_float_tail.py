"""Quantised models end in float scores of the same name and shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edgecnn.graph.float_tail import free_output

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]

RNG = np.random.default_rng(6)
IMAGES = RNG.normal(size=(3, 4, 8, 8)).astype(np.float32)
STEP = 0.05
CONSTANTS = {
    "w": RNG.normal(size=(5, 4, 1, 1)).astype(np.float32) / 4,
    "dense": RNG.normal(size=(5, 4)).astype(np.float32),
    "s": np.array(STEP, np.float32),
    "z": np.array(128, np.uint8),
    "rows": np.array([0, -1], np.int64),
    "last": np.array([2, 3], np.int64),
}


def pair(value: str, result: str) -> str:
    """Quantised and back."""
    return f"q{result} = QuantizeLinear({value}, s, z) {result} = DequantizeLinear(q{result}, s, z)"


CONV = f"{pair('x', 'a')} c = Conv(a, w)"

#: Nodes, how many pairs go, how many stay.
ENDS = {
    "product": (
        f"""p = GlobalAveragePool(x) f = Flatten(p) {pair("f", "a")}
        g = Gemm<transB=1>(a, dense) {pair("g", "y")}""",
        (1, 1),
    ),
    "pooling": (f"{CONV} {pair('c', 'd')} p = GlobalAveragePool(d) {pair('p', 'y')}", (1, 2)),
    "pooling, flattened": (
        f"{CONV} {pair('c', 'd')} p = GlobalAveragePool(d) {pair('p', 'e')} f = Flatten(e) {pair('f', 'y')}",
        (2, 2),
    ),
    "pooling, reshaped in float": (
        f"{CONV} {pair('c', 'd')} p = GlobalAveragePool(d) {pair('p', 'e')} y = Reshape(e, rows)",
        (1, 2),
    ),
    "pooling, squeezed, softmax": (
        f"""{CONV} {pair("c", "d")} p = GlobalAveragePool(d) {pair("p", "e")}
        f = Squeeze(e, last) {pair("f", "g")} y = Softmax<axis=1>(g)""",
        (2, 2),
    ),
    "convolution": (f"{CONV} {pair('c', 'y')}", (1, 1)),
    "convolution, flattened": (f"{CONV} {pair('c', 'd')} f = Flatten(d) {pair('f', 'y')}", (2, 1)),
}


def run(model: onnx.ModelProto) -> Array:
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    scores: Array = session.run(["y"], {"x": IMAGES})[0]
    return scores


def count(model: onnx.ModelProto, op_type: str) -> int:
    return sum(node.op_type == op_type for node in model.graph.node)


@pytest.mark.parametrize(("nodes", "pairs"), ENDS.values(), ids=ENDS)
def test_the_scores_are_float(graph_of: GraphOf, nodes: str, pairs: tuple[int, int]) -> None:
    model = graph_of(nodes, CONSTANTS, "4,8,8")
    before, output = run(model), model.graph.output[0].SerializeToString()
    assert free_output(model) == pairs[0]
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.output[0].SerializeToString() == output
    assert (count(model, "QuantizeLinear"), count(model, "DequantizeLinear")) == (pairs[1], pairs[1])
    after = run(model)
    assert after.shape == before.shape
    # Each pair that went rounded by half a step at most, and these values do not saturate; in float32.
    assert np.abs(after - before).max() <= pairs[0] * STEP / 2 * (1 + 1e-4)
    assert len(np.unique(after)) > len(np.unique(before)), "no two scores tie because of 8 bits"


def test_a_float_end_stays(graph_of: GraphOf) -> None:
    model = graph_of(
        f"{CONV} {pair('c', 'd')} r = Relu(d) p = GlobalAveragePool(r) y = Flatten(p)", CONSTANTS, "4,8,8"
    )
    before = model.SerializeToString()
    assert free_output(model) == 0
    assert model.SerializeToString() == before


def test_numbers_that_have_another_reader_stay(graph_of: GraphOf) -> None:
    nodes = (
        f"{CONV} {pair('c', 'd')} e = DequantizeLinear(qd, s, z) r = Relu(e) f = Identity(d) y = Identity(f)"
    )
    model = graph_of(nodes, CONSTANTS, "4,8,8")
    model.graph.output.append(onnx.ValueInfoProto(name="r"))
    assert free_output(model) == 0


def test_a_value_read_elsewhere_too_is_read_under_the_outputs_name(graph_of: GraphOf) -> None:
    nodes = f"{CONV} {pair('c', 'y')} r = Relu(c)"
    model = graph_of(nodes, CONSTANTS, "4,8,8")
    model.graph.output.append(onnx.ValueInfoProto(name="r"))
    assert free_output(model) == 1
    assert [node.op_type for node in model.graph.node][-2:] == ["Conv", "Relu"]
    assert list(model.graph.node[-1].input) == list(model.graph.node[-2].output) == ["y"]

"""Batch normalisation folds into the layer before it, which computes what both did; others stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecnn.graph.batch_norm import fold_batch_norm

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]

CHANNELS = 8
NORM = "scale, shift, mean, variance"


def run(model: onnx.ModelProto) -> Array:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings)
    shape = [size if isinstance(size, int) else 2 for size in session.get_inputs()[0].shape]
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    scores: Array = session.run(["y"], {"x": images})[0]
    return scores


def constants(seed: int = 0, **others: tuple[int, ...]) -> dict[str, Array]:
    """What normalises ``CHANNELS`` channels, and normally distributed numbers of the shapes ``others``."""
    rng = np.random.default_rng(seed)
    found = {name: rng.normal(size=CHANNELS) for name in ("scale", "shift", "mean")}
    found["variance"] = rng.uniform(0.01, 4, CHANNELS)
    found |= {name: rng.normal(size=shape) for name, shape in others.items()}
    return {name: value.astype(np.float32) for name, value in found.items()}


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def folds(model: onnx.ModelProto, count: int = 1) -> None:
    before = run(model)
    assert fold_batch_norm(model) == count
    assert "BatchNormalization" not in operators(model)
    onnx.checker.check_model(model, full_check=True)
    after = run(model)
    # Products of weights that are rounded once more to float32, in sums of up to 100.
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())


@settings(max_examples=40, deadline=None)
@given(
    axes=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    epsilon=st.sampled_from([0.0, 1e-5, 1e-3, 0.1]),
    opset=st.sampled_from([9, 13, 15, 20]),
    seed=st.integers(0, 9),
)
def test_a_convolution_takes_it_in(
    graph_of: GraphOf, *, axes: int, groups: int, bias: bool, epsilon: float, opset: int, seed: int
) -> None:
    kernel = (3, 2, 1)[:axes]
    weights = constants(seed, w=(CHANNELS, 4 // groups, *kernel), b=(CHANNELS,))
    nodes = f"""c = Conv<group={groups}, strides=[{",".join("2" * axes)}]>(x, w{", b" if bias else ""})
        n = BatchNormalization<epsilon={epsilon:f}>(c, {NORM}) y = Relu(n)"""
    model = graph_of(nodes, weights, f"4,{','.join('7' * axes)}", opset)
    folds(model)
    assert operators(model) == ["Conv", "Relu"]


@settings(max_examples=40, deadline=None)
@given(
    transposed=st.booleans(),
    bias=st.sampled_from([None, (CHANNELS,), (1, CHANNELS), (1,), (1, 1), ()]),
    alpha=st.sampled_from([1.0, 0.5]),
    beta=st.sampled_from([1.0, 0.0, -2.0]),
    seed=st.integers(0, 9),
)
def test_a_product_takes_it_in(
    graph_of: GraphOf, *, transposed: bool, bias: tuple[int, ...] | None, alpha: float, beta: float, seed: int
) -> None:
    others = {"w": (CHANNELS, 5) if transposed else (5, CHANNELS), "b": bias or ()}
    attributes = f"transB={int(transposed)}, alpha={alpha}, beta={beta}"
    nodes = f"""c = Gemm<{attributes}>(x, w{"" if bias is None else ", b"})
        n = BatchNormalization(c, {NORM}) y = Relu(n)"""
    folds(graph_of(nodes, constants(seed, **others), "5", 15))


def test_weights_and_parameters_that_others_read_stay_theirs(graph_of: GraphOf) -> None:
    nodes = f"""a = Conv(x, w, b) n = BatchNormalization(a, {NORM}) c = Conv(n, w, b) d = Conv(c, w, b)
        m = BatchNormalization(d, {NORM}) y = Relu(m)"""
    folds(graph_of(nodes, constants(w=(8, 8, 1, 1), b=(8,)), "8,4,4"), 2)


def test_one_after_the_other_and_at_the_output(graph_of: GraphOf) -> None:
    nodes = f"a = Conv(x, w) n = BatchNormalization(a, {NORM}) y = BatchNormalization(n, {NORM})"
    model = graph_of(nodes, constants(w=(8, 3, 1, 1)))
    folds(model, 2)
    assert [(node.name, *node.output) for node in model.graph.node] == [("a", "y")]


def test_types_of_values_that_are_gone_are_forgotten(graph_of: GraphOf) -> None:
    nodes = f"a = Conv(x, w) n = BatchNormalization(a, {NORM}) y = Relu(n)"
    model = onnx.shape_inference.infer_shapes(graph_of(nodes, constants(w=(8, 3, 1, 1))))
    assert fold_batch_norm(model) == 1
    assert [value.name for value in model.graph.value_info] == ["n"]


_PLAIN = f"BatchNormalization(a, {NORM})"


@pytest.mark.parametrize(
    ("nodes", "others"),
    [
        (f"a = Conv(x, w) n = {_PLAIN} r = Relu(a) y = Add(n, r)", {}),
        (f"a = Conv(x, w) r = Relu(a) n = BatchNormalization(r, {NORM}) y = Relu(n)", {}),
        ("a = Conv(x, w) s = Abs(scale) n = BatchNormalization(a, s, shift, mean, variance) y = Relu(n)", {}),
        (f"v = Abs(w) a = Conv(x, v) n = {_PLAIN} y = Relu(n)", {}),
        (f"a = ConvTranspose(x, t) n = {_PLAIN} y = Relu(n)", {"t": np.ones((3, 8, 1, 1), np.float32)}),
        (f"a = Conv(x, w) n = {_PLAIN} y = Relu(n)", {"variance": np.full(8, -1, np.float32)}),
        (f"a = Conv(x, w) n, m, v = BatchNormalization<training_mode=1>(a, {NORM}) y = Relu(n)", {}),
    ],
)
def test_others_stay(graph_of: GraphOf, nodes: str, others: Mapping[str, Array]) -> None:
    model = graph_of(nodes, constants(w=(8, 3, 1, 1)) | dict(others), opset=15)
    before = model.SerializeToString()
    assert fold_batch_norm(model) == 0
    assert model.SerializeToString() == before


def test_a_convolution_whose_result_is_an_output_stays(graph_of: GraphOf) -> None:
    model = graph_of(f"a = Conv(x, w) y = BatchNormalization(a, {NORM})", constants(w=(8, 3, 1, 1)))
    model.graph.output.append(onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, None))
    assert fold_batch_norm(model) == 0

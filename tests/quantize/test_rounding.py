"""Weights rounded so that their errors cancel out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn.graph.index import GraphIndex
from edgecnn.quantize.bias_correction import round_weights, weighted_nodes
from edgecnn.quantize.patches import measure_moments
from edgecnn.quantize.rounding import put_rounded, round_jointly, round_layers
from edgecnn.quantize.sessions import Session

SmallOf = Callable[[str], Any]
Array = NDArray[np.float64]


def inputs(seed: int, groups: int, count: int, inputs: int) -> Array:
    """(groups, count, inputs), whose columns vary together."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(groups, inputs, inputs))
    return rng.normal(size=(groups, count, inputs)) @ mixing


def covariance_of(values: Array) -> Array:
    return np.stack([np.atleast_2d(np.cov(group.T)) for group in values])


def output_error(weights: Array, rounded: Array, covariance: Array) -> float:
    error = rounded - weights
    return float(np.einsum("gok,gkl,gol->", error, covariance, error))


def nearest(weights: Array, levels: int) -> Array:
    flat = weights.reshape(-1, weights.shape[2]).astype(np.float32)
    return round_weights(flat, levels).reshape(weights.shape).astype(np.float64)


@given(
    st.integers(0, 10_000),
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 80),
    st.sampled_from([7, 64, 127]),
)
def test_weights_are_on_the_grid_that_the_result_shows(
    seed: int, groups: int, outputs: int, patch: int, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(groups, outputs, patch))
    found = round_jointly(weights, covariance_of(inputs(seed, groups, 3 * patch + 2, patch)), levels)
    assert np.allclose(np.abs(found).max(axis=2), np.abs(weights).max(axis=2), rtol=1e-12)
    again = round_weights(found.reshape(-1, patch).astype(np.float32), levels)
    assert np.allclose(again.reshape(found.shape), found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_output_errs_less_than_by_rounding_to_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(2, 16, 100))  # more than one block of columns
    covariance = covariance_of(inputs(seed + 100, 2, 1000, 100))
    joint = output_error(weights, round_jointly(weights, covariance, 127), covariance)
    assert joint < 0.6 * output_error(weights, nearest(weights, 127), covariance)


def test_inputs_that_do_not_vary_together_are_rounded_to_nearest() -> None:
    weights = np.random.default_rng(0).normal(size=(1, 4, 30))
    found = round_jointly(weights, np.eye(30)[np.newaxis], 127)
    assert np.allclose(found, nearest(weights, 127), atol=1e-6)


@pytest.mark.parametrize("covariance", [np.zeros((1, 3, 3)), np.ones((1, 3, 3))], ids=["zero", "singular"])
def test_inputs_that_never_vary_are_no_obstacle(covariance: Array) -> None:
    weights = np.array([[[0.0, 0.0, 0.0], [1.0, -2.0, 0.3]]])
    found = round_jointly(weights, covariance, 127)
    assert np.isfinite(found).all()
    assert found[0, 0].tolist() == [0, 0, 0]


def convolution(groups: int, *, auto_pad: str = "NOTSET", **attributes: Any) -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(4, 4 // groups, 3, 2)).astype(np.float32)
    pads: dict[str, Any] = {"pads": [1, 0, 2, 1]} if auto_pad == "NOTSET" else {"auto_pad": auto_pad}
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", group=groups, **pads, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 9, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


IMAGES = (1 + np.random.default_rng(1).normal(size=(5, 4, 9, 8))).astype(np.float32)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("attributes", [{}, {"strides": [2, 1]}, {"dilations": [1, 2]}])
def test_moments_are_those_of_what_a_convolution_multiplies(groups: int, attributes: dict[str, Any]) -> None:
    model = convolution(groups, **attributes)
    ((node, moments),) = measure_moments(model, IMAGES, threads=1)
    weights = GraphIndex(model.graph).constant("w").reshape(groups, 4 // groups, -1)
    outputs = Session(model, threads=1).run(IMAGES)[0]
    per_channel = outputs.transpose(1, 0, 2, 3).reshape(4, -1)
    assert node.name == "conv"
    means = np.einsum("gok,gk->go", weights, moments.mean).ravel()
    assert means == pytest.approx(per_channel.mean(axis=1), rel=1e-4, abs=1e-5)
    variances = np.einsum("gok,gkl,gol->go", weights, moments.covariance, weights).ravel()
    assert variances == pytest.approx(per_channel.var(axis=1), rel=1e-4)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_that_follows_from_the_sizes_is_found(auto_pad: str) -> None:
    model = convolution(1, auto_pad=auto_pad, strides=[2, 1])
    ((_, moments),) = measure_moments(model, IMAGES, threads=1)
    means = GraphIndex(model.graph).constant("w").reshape(4, -1) @ moments.mean[0]
    outputs = Session(model, threads=1).run(IMAGES)[0]
    assert means == pytest.approx(outputs.mean(axis=(0, 2, 3)), rel=1e-4, abs=1e-5)


def test_few_covariances_are_held_at_a_time(small: SmallOf, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small("residual")
    whole = {node.name: found for node, found in measure_moments(made.model, made.images, threads=1)}
    monkeypatch.setattr("edgecnn.quantize.patches._BYTES", 1)
    single = {node.name: found for node, found in measure_moments(made.model, made.images, threads=1)}
    assert list(single) == list(whole) == [node.name for node in weighted_nodes(GraphIndex(made.model.graph))]
    for name, found in single.items():
        assert np.allclose(found.covariance, whole[name].covariance)


def test_the_mean_output_stays_and_float_nodes_keep_their_weights() -> None:
    model = convolution(2)
    layers = round_layers(model, IMAGES, 7, threads=1)
    rounded, untouched = onnx.ModelProto(), onnx.ModelProto()
    for copy, keep in ((rounded, ()), (untouched, ("conv",))):
        copy.CopyFrom(model)
        put_rounded(copy, layers, keep)
    exact, found = (Session(each, threads=1).run(IMAGES)[0] for each in (model, rounded))
    assert not np.allclose(found, exact, atol=1e-3)
    assert found.mean(axis=(0, 2, 3)) == pytest.approx(exact.mean(axis=(0, 2, 3)), abs=1e-4)
    assert untouched == model


def test_layers_that_read_too_much_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecnn.quantize.patches._MOST_INPUTS", 4 * 3 * 2 - 1)
    assert list(measure_moments(convolution(1), IMAGES, threads=1)) == []
    assert len(list(measure_moments(convolution(2), IMAGES, threads=1))) == 1


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1234.5678])
def test_an_input_that_never_varies_is_no_obstacle(value: float) -> None:
    model = convolution(1)
    constant = np.full_like(IMAGES, value)
    layers = round_layers(model, constant, 127, threads=1)
    assert np.isfinite(layers["conv"].weights).all()

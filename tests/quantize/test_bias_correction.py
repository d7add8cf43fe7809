"""Rounded weights, and biases that take back the mean of what rounding does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn.graph.index import GraphIndex
from edgecnn.quantize.bias_correction import correct_biases, round_weights, weighted_nodes
from edgecnn.quantize.calibration import measure_channels
from edgecnn.quantize.sessions import Session
from edgecnn.quantize.simulation import Simulation

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]

RNG = np.random.default_rng(2)

#: Not 0 on average, as activations after a ReLU are not.
IMAGES = RNG.gamma(1.0, size=(6, 4, 8, 8)).astype(np.float32)

#: Below 2**-100 a step of a 127th is no normal number any more.
numbers = st.floats(-(2.0**100), 2.0**100, width=32).filter(
    lambda value: value == 0 or abs(value) > 2.0**-100
)
weights = npst.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3)), elements=numbers
)
LEVELS = pytest.mark.parametrize("levels", [127, 64])


@LEVELS
@given(weights=weights)
def test_no_weight_is_off_by_more_than_half_a_step_of_its_output(levels: int, weights: Array) -> None:
    half = np.abs(weights).max(axis=(1, 2), keepdims=True) / levels / 2
    off = np.abs(round_weights(weights, levels).astype(np.float64) - weights)
    # Both the division by the step and the product with it are rounded to float32: 127 * 2**-23 < 2e-5.
    assert np.all(off <= half * (1 + 4e-5))


@LEVELS
@given(weights=weights)
def test_rounded_weights_are_few_and_stay_when_rounded_again(levels: int, weights: Array) -> None:
    rounded = round_weights(weights, levels)
    assert rounded.dtype == np.float32
    for row in rounded:
        assert len(np.unique(np.abs(row))) <= levels + 1
    np.testing.assert_allclose(round_weights(rounded, levels), rounded, rtol=1e-6)


def parameter(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


WEIGHTS = {
    "w": parameter(6, 4, 1, 1),
    "pairs": parameter(6, 2, 1, 1),
    "depth": parameter(8, 1, 3, 3),
    "square": parameter(6, 4, 3, 3),
    "dense": parameter(5, 4),
    "bias": parameter(6),
    "five": parameter(5),
}

LAYERS = {
    "1x1": "y = Conv(x, w, bias)",
    "two groups": "y = Conv<group=2>(x, pairs, bias)",
    "without a bias": "y = Conv(x, w)",
    "product": "p = GlobalAveragePool(x) f = Flatten(p) y = Gemm<transB=1>(f, dense, five)",
    "product without a bias": "p = GlobalAveragePool(x) f = Flatten(p) y = Gemm<transB=1>(f, dense)",
}


def mean_output(model: onnx.ModelProto, value: str = "y") -> NDArray[np.float64]:
    return measure_channels(model, [value], IMAGES, threads=1)[value].mean


def rounded(model: onnx.ModelProto, levels: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    index = GraphIndex(copy.graph)
    for node in weighted_nodes(index):
        index.replace_constant(node.input[1], round_weights(index.constant(node.input[1]), levels))
    return copy


def corrected(model: onnx.ModelProto, levels: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = weighted_nodes(GraphIndex(copy.graph))
    found = measure_channels(model, [node.input[0] for node in nodes], IMAGES, threads=1)
    assert correct_biases(copy, found, levels) == len(nodes)
    onnx.checker.check_model(copy)
    return copy


@LEVELS
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_rounded_weights_with_corrected_biases_answer_alike_on_average(
    graph_of: GraphOf, layer: str, levels: int
) -> None:
    model = graph_of(layer, WEIGHTS, image="4,8,8")
    wanted = mean_output(model)
    before = np.abs(mean_output(rounded(model, levels)) - wanted).max()
    after = np.abs(mean_output(rounded(corrected(model, levels), levels)) - wanted).max()
    # Sums of float32; rounding moves the mean by about 1e-2.
    assert before > 1e-3
    assert after < 1e-5


@LEVELS
@pytest.mark.parametrize("layer", [LAYERS["1x1"], LAYERS["two groups"]], ids=["1x1", "two groups"])
def test_what_rounding_and_clipping_do_to_the_input_is_taken_out_too(
    graph_of: GraphOf, layer: str, levels: int
) -> None:
    model = graph_of(layer, WEIGHTS, image="4,8,8")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    ranges = {"x": (0.0, 1.5)}  # a fifth of the values is above it
    correct_biases(changed, measure_channels(model, ["x"], IMAGES, threads=1, ranges=ranges), levels)

    def mean(each: onnx.ModelProto) -> NDArray[np.float64]:
        """Of each channel, with the input and the weights rounded."""
        scores = Simulation(each, ranges, levels, threads=1).scores(IMAGES, ranges)
        return np.asarray(scores.reshape(len(IMAGES), 6, -1).mean(axis=(0, 2), dtype=np.float64))

    wanted = mean_output(model)
    assert np.abs(mean(model) - wanted).max() > 0.1
    assert np.abs(mean(changed) - wanted).max() < 1e-5  # float32


@pytest.mark.parametrize(
    "operands", ["<pads=[1,1,1,1]>(x, square, bias)", "<group=4, pads=[1,1,1,1]>(x, depth)"]
)
def test_padding_is_neglected_and_still_most_of_the_error_goes(graph_of: GraphOf, operands: str) -> None:
    model = graph_of(f"y = Conv{operands}", WEIGHTS, image="4,8,8")
    wanted = mean_output(model)
    before = np.abs(mean_output(rounded(model, 127)) - wanted).max()
    after = np.abs(mean_output(rounded(corrected(model, 127), 127)) - wanted).max()
    # 28 of 64 positions lie at a border, where a third of the kernel sees nothing.
    assert after < before / 2


def test_only_biases_change(graph_of: GraphOf) -> None:
    model = graph_of(LAYERS["1x1"], WEIGHTS, image="4,8,8")
    changed = corrected(model, 127)
    assert [tensor.name for tensor in changed.graph.initializer] == list(WEIGHTS)
    differing = [
        name for name, values in constants(changed).items() if not np.array_equal(values, WEIGHTS[name])
    ]
    assert differing == ["bias"]


def test_a_layer_without_a_bias_gets_one_of_its_own(graph_of: GraphOf) -> None:
    nodes = "a = Conv(x, w) b = Conv<group=2>(x, pairs) y = Add(a, b)"
    changed = corrected(graph_of(nodes, WEIGHTS, image="4,8,8"), 127)
    names = [node.input[2] for node in changed.graph.node[:2]]
    assert names == ["a.bias", "b.bias"]
    assert all(np.any(constants(changed)[name] != 0) for name in names)


def test_a_bias_that_two_layers_share_is_corrected_for_each(graph_of: GraphOf) -> None:
    nodes = "a = Conv(x, w, bias) b = Conv<group=2>(x, pairs, bias) y = Concat<axis=1>(a, b)"
    model = graph_of(nodes, WEIGHTS, image="4,8,8")
    changed = corrected(model, 64)
    for value in ("a", "b"):
        # float32, as above
        assert mean_output(rounded(changed, 64), value) == pytest.approx(mean_output(model, value), abs=1e-5)


def test_the_other_reader_of_a_shared_bias_keeps_it(graph_of: GraphOf) -> None:
    nodes = "a = Conv(x, w, bias) r = Relu(a) b = Conv(r, more, bias) y = Concat<axis=1>(r, b)"
    model = graph_of(nodes, WEIGHTS | {"more": parameter(6, 6, 1, 1)}, image="4,8,8")
    found = measure_channels(model, ["x"], IMAGES, threads=1)
    assert correct_biases(model, found, 127) == 1
    first, second = (model.graph.node[at].input[2] for at in (0, 2))
    assert np.any(constants(model)[first] != WEIGHTS["bias"])
    np.testing.assert_array_equal(constants(model)[second], WEIGHTS["bias"])


def test_layers_of_unknown_input_and_other_products_are_left(graph_of: GraphOf) -> None:
    model = graph_of(
        "p = GlobalAveragePool(x) f = Flatten(p) y = Gemm(f, t)", {"t": parameter(4, 5)}, "4,8,8"
    )
    before = model.SerializeToString()
    assert correct_biases(model, measure_channels(model, ["f"], IMAGES, threads=1), 127) == 0
    other = graph_of(LAYERS["1x1"], WEIGHTS, image="4,8,8")
    assert correct_biases(other, {}, 127) == 0
    assert model.SerializeToString() == before


def test_the_session_takes_what_comes_out(graph_of: GraphOf) -> None:
    changed = corrected(graph_of(LAYERS["without a bias"], WEIGHTS, image="4,8,8"), 127)
    assert Session(changed, threads=1).run(IMAGES)[0].shape == (6, 6, 8, 8)


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

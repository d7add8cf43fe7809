"""The simulation predicts what the int8 model answers, and rounds what it is told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgecnn.environment import describe_environment
from edgecnn.graph.index import GraphIndex
from edgecnn.quantize.bias_correction import round_weights, weighted_nodes
from edgecnn.quantize.placement import Scheme, place_qdq
from edgecnn.quantize.sessions import Session
from edgecnn.quantize.simulation import Simulation
from edgecnn.statistics import sqnr_db

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]
Small = Any  # conftest's

NAMES = pytest.mark.parametrize("name", ["residual", "excite", "silu"])

#: With 8-bit weights, ONNX Runtime saturates on x86 processors without VNNI; 7 bits are right everywhere.
SETS = describe_environment().instruction_sets
SCHEMES = [
    pytest.param(
        Scheme(),
        marks=pytest.mark.skipif(
            SETS is not None and not any("vnni" in item for item in SETS),
            reason="needs a processor with VNNI",
        ),
    ),
    Scheme(reduce_range=True),
]


def simulation(small: Small, levels: int = 127, *, symmetric: bool = False) -> Simulation:
    return Simulation(small.model, small.ranges, levels, threads=1, symmetric=symmetric)


def decibel(reference: Array, other: Array) -> float:
    found = sqnr_db(reference, other)
    assert found is not None, "equal to the last bit"
    return found


@NAMES
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_it_predicts_the_noise_of_the_int8_model(
    small: Callable[[str], Small], name: str, scheme: Scheme
) -> None:
    case = small(name)
    simulated = simulation(case, scheme.weight_levels).scores(case.images, case.ranges)
    placed = place_qdq(case.model, case.ranges, scheme)
    real = Session(placed, threads=1).scores(case.images)
    loss, predicted = decibel(case.reference, real), decibel(case.reference, simulated)
    assert 35 < loss < 60, "quantised, and not ruined"
    # What is chosen by it changes the noise by decibels. It knows neither the int32 biases nor the pieces of
    # hard gates, which cost less than half a decibel here.
    assert predicted == pytest.approx(loss, abs=0.75)
    assert decibel(real, simulated) > loss + 2, "nearer to the int8 model than that is to the float one"


@NAMES
@pytest.mark.parametrize("levels", [127, 64])
def test_with_no_activation_rounded_only_the_weights_are(
    small: Callable[[str], Small], name: str, levels: int
) -> None:
    case = small(name)
    rounded = onnx.ModelProto()
    rounded.CopyFrom(case.model)
    index = GraphIndex(rounded.graph)
    for node in weighted_nodes(index):
        index.replace_constant(node.input[1], round_weights(index.constant(node.input[1]), levels))
    expected = Session(rounded, threads=1).scores(case.images)
    found = simulation(case, levels).scores(case.images, case.ranges, only=())
    np.testing.assert_allclose(found, expected, atol=1e-5)  # float32, in differently fused kernels
    assert np.abs(expected - case.reference).max() > 1e-3


@NAMES
def test_what_is_rounded_is_what_the_int8_model_holds(small: Callable[[str], Small], name: str) -> None:
    held = {
        "residual": ("x", "r", "t", "c", "s", "p"),
        "excite": ("x", "a", "r", "d", "t", "g", "i", "j", "k", "m", "s", "p"),
        "silu": ("x", "a", "u", "r", "d", "v", "t", "c", "s", "p"),
    }
    assert simulation(small(name)).activations == held[name]


@NAMES
def test_each_activation_alone_adds_noise_and_all_add_most(small: Callable[[str], Small], name: str) -> None:
    case = small(name)
    opened = simulation(case)
    weights_alone = opened.scores(case.images, case.ranges, only=())
    alone = [opened.scores(case.images, case.ranges, only=(value,)) for value in opened.activations]
    together = opened.scores(case.images, case.ranges)
    noises = [decibel(weights_alone, each) for each in alone]
    assert decibel(weights_alone, together) < min(noises)
    every = opened.scores(case.images, case.ranges, only=opened.activations)
    np.testing.assert_array_equal(every, together)


def test_means_over_pixels_have_a_range_of_their_own(graph_of: GraphOf) -> None:
    """As narrow as means are, in the simulation and in the int8 model, and so has what passes them on."""
    nodes = """c = Conv(x, kernel) e = AveragePool<kernel_shape=[8,8], strides=[8,8]>(c)
        m = MaxPool<kernel_shape=[2,2]>(e) f = Flatten(m) y = Gemm<transB=1>(f, dense)"""
    rng = np.random.default_rng(3)
    kernel, dense = np.eye(3, dtype=np.float32), rng.normal(size=(5, 3)).astype(np.float32)
    model = graph_of(nodes, {"kernel": kernel.reshape(3, 3, 1, 1), "dense": dense}, "3,16,16")
    images = rng.normal(size=(32, 3, 16, 16)).astype(np.float32)
    means = (-0.5, 0.52)  # not so that a zero point lies half-way between two levels
    ranges = {"x": (-4.0, 4.1), "c": (-4.0, 4.1), "e": means, "m": means, "f": means, "y": (-2.0, 2.1)}
    found = Simulation(model, ranges, 64, threads=1).scores(images, ranges)
    placed = place_qdq(model, ranges, Scheme(reduce_range=True))
    reference = Session(model, threads=1).scores(images)
    real = Session(placed, threads=1).scores(images)
    # Means of 64 pixels are 8 times as small: with the pixels' range, their 8 bits would be 5.
    assert decibel(reference, real) > 35
    assert decibel(reference, found) == pytest.approx(decibel(reference, real), abs=0.75)


def test_a_narrower_range_clips(small: Callable[[str], Small]) -> None:
    case = small("residual")
    opened = simulation(case)
    narrow = {**case.ranges, "s": (0.0, 0.01)}
    wide = {**case.ranges, "s": (-100.0, 100.0)}
    fitting = decibel(case.reference, opened.scores(case.images, case.ranges))
    assert decibel(case.reference, opened.scores(case.images, narrow)) < fitting - 20
    assert decibel(case.reference, opened.scores(case.images, wide)) < fitting - 3


def test_symmetric_ranges_lose_half_of_the_levels_after_a_relu(small: Callable[[str], Small]) -> None:
    case = small("residual")
    only = ("r", "t")  # neither is ever negative
    base = simulation(case).scores(case.images, case.ranges, only=())
    plain = decibel(base, simulation(case).scores(case.images, case.ranges, only))
    symmetric = decibel(base, simulation(case, symmetric=True).scores(case.images, case.ranges, only))
    assert plain - symmetric == pytest.approx(20 * np.log10(2), abs=2)  # a bit; rounding errors are random


def test_values_without_a_range_stay_in_float(small: Callable[[str], Small]) -> None:
    case = small("residual")
    opened = Simulation(case.model, {"x": (0.0, 1.0)}, 127, threads=1)
    assert opened.activations == ("x",)


def test_a_value_is_rounded_to_the_levels_of_its_range(graph_of: GraphOf) -> None:
    model = graph_of("m = Relu(x) n = Neg(m) y = Neg(n)", {}, "3,8,8")
    images = np.linspace(-1, 3, 192, dtype=np.float32).reshape(1, 3, 8, 8)
    found = Simulation(model, {"m": (0.0, 2.0)}, 127, threads=1).scores(images, {"m": (0.0, 2.0)})
    step = 2 / 255
    expected = np.rint(np.clip(images, 0, 2) / step) * step
    np.testing.assert_allclose(found, expected.reshape(1, -1), atol=1e-6)  # float32


def test_activations_that_are_always_0_stay_0(small: Callable[[str], Small]) -> None:
    case = small("residual")
    nothing = {**case.ranges, "r": (0.0, 0.0)}
    assert np.isfinite(simulation(case).scores(case.images, nothing)).all()


def test_the_model_is_not_changed(small: Callable[[str], Small]) -> None:
    case = small("residual")
    before = case.model.SerializeToString()
    simulation(case).scores(case.images[:1], case.ranges)
    assert case.model.SerializeToString() == before

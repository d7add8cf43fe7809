"""Which channels share a factor, and which may have none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edgecnn.quantize.channels import TiedChannels, tie_channels

GraphOf = Callable[..., onnx.ModelProto]

WEIGHTS = {
    "w1": np.ones((4, 3, 1, 1), np.float32),
    "w2": np.ones((4, 4, 1, 1), np.float32),
    "w3": np.ones((5, 4, 1, 1), np.float32),
    "depth": np.ones((4, 1, 1, 1), np.float32),
    "dense": np.ones((5, 4), np.float32),
    "wide": np.ones((5, 4 * 64), np.float32),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
    "ones": np.ones(4, np.float32),
    "rows": np.array([-1, 4], np.int64),
    "half": np.array([2, 2], np.int64),
}


def are_free(tied: TiedChannels, value: str) -> bool:
    """Of a value of which all channels are alike in this."""
    (free,) = {tied.free[item] for item in tied.channels[value].tolist()}
    return free


@pytest.mark.parametrize(
    "between",
    [
        "b = Relu(a)",
        "b = LeakyRelu<alpha=0.1>(a)",
        "b = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)",
        "b = AveragePool<kernel_shape=[2,2], pads=[1,1,0,0]>(a)",
        "r = Relu(a) b = Identity(r)",
        "b = Dropout(a)",
    ],
)
def test_a_factor_passes_from_a_convolution_to_the_next(graph_of: GraphOf, between: str) -> None:
    tied = tie_channels(graph_of(f"a = Conv(x, w1) {between} y = Conv(b, w3)", WEIGHTS))
    assert tied.channels["a"].tolist() == tied.channels["b"].tolist()
    assert len(set(tied.channels["a"].tolist())) == 4
    assert are_free(tied, "a")
    assert not are_free(tied, "y"), "the output is what users see"


@pytest.mark.parametrize(
    "between",
    [
        "b = Clip(a, zero, six)",
        "b = HardSwish(a)",
        "b = Sigmoid(a)",
        "b = PRelu(a, zero)",
        "b = Add(a, six)",
        "b = Mul(a, a)",
        "s, t = Split<axis=1>(a, half) b = Concat<axis=1>(t, s)",
    ],
)
def test_no_factor_passes_what_depends_on_the_size(graph_of: GraphOf, between: str) -> None:
    tied = tie_channels(graph_of(f"a = Conv(x, w1) {between} y = Conv(b, w3)", WEIGHTS))
    assert not are_free(tied, "a")
    assert "b" not in tied.channels


def test_one_reader_that_takes_no_factor_is_enough(graph_of: GraphOf) -> None:
    tied = tie_channels(
        graph_of("a = Conv(x, w1) b = Conv(a, w2) s = Sigmoid(a) y = Mul(b, s)", WEIGHTS),
    )
    assert not are_free(tied, "a")


def test_a_residual_stream_is_one_set_per_channel(graph_of: GraphOf) -> None:
    nodes = """a = Conv(x, w1) r = Relu(a)
        b = Conv(r, w2) c = Relu(b) d = Conv(c, w2) s = Add(r, d) t = Relu(s)
        e = Conv(t, w2) f = Add(t, e) y = Conv(f, w3)"""
    tied = tie_channels(graph_of(nodes, WEIGHTS))
    stream = tied.channels["a"].tolist()
    for name in ("r", "d", "s", "t", "e", "f"):
        assert tied.channels[name].tolist() == stream, name
    assert not set(tied.channels["b"].tolist()) & set(stream)
    assert are_free(tied, "a")
    assert are_free(tied, "c")


def test_a_stream_that_reaches_the_output_is_fixed_from_its_start(graph_of: GraphOf) -> None:
    tied = tie_channels(graph_of("a = Conv(x, w1) b = Conv(a, w2) y = Add(a, b)", WEIGHTS))
    assert not are_free(tied, "a")
    assert not are_free(tied, "b")


def test_branches_lie_side_by_side(graph_of: GraphOf) -> None:
    nodes = "a = Conv(x, w1) b = Conv(x, w3) c = Sigmoid(b) d = Concat<axis=1>(a, b) y = GlobalMaxPool(d)"
    free = tie_channels(graph_of(nodes.replace("c = Sigmoid(b)", ""), WEIGHTS))
    expected = free.channels["a"].tolist() + free.channels["b"].tolist()
    assert free.channels["d"].tolist() == expected
    fixed = tie_channels(graph_of("a = Conv(x, w1) d = Concat<axis=1>(a, x) y = Relu(d)", WEIGHTS))
    assert not are_free(fixed, "a"), "the input takes no factor"


def test_each_branch_keeps_its_own_freedom(graph_of: GraphOf) -> None:
    nodes = "a = Conv(x, w1) b = Conv(x, w2) c = Concat<axis=1>(a, b) y = Conv(c, both) s = Sigmoid(b)"
    both = {"both": np.ones((3, 8, 1, 1), np.float32)}
    tied = tie_channels(graph_of(nodes, WEIGHTS | both))
    assert are_free(tied, "a")
    assert not are_free(tied, "b")


def test_a_depthwise_convolution_begins_sets_of_its_own(graph_of: GraphOf) -> None:
    tied = tie_channels(graph_of("a = Conv(x, w1) b = Conv<group=4>(a, depth) y = Conv(b, w3)", WEIGHTS))
    assert not set(tied.channels["a"].tolist()) & set(tied.channels["b"].tolist())
    assert are_free(tied, "a")
    assert are_free(tied, "b")


@pytest.mark.parametrize("flat", ["Reshape(p, rows)", "Flatten(p)"])
def test_a_factor_passes_global_pooling_into_a_product(graph_of: GraphOf, flat: str) -> None:
    nodes = f"a = Conv(x, w1) p = GlobalAveragePool(a) f = {flat} y = Gemm<transB=1>(f, dense)"
    tied = tie_channels(graph_of(nodes, WEIGHTS))
    assert tied.channels["f"].tolist() == tied.channels["a"].tolist()
    assert are_free(tied, "a")


@pytest.mark.parametrize(
    "nodes",
    [
        "f = Flatten(a) y = Gemm<transB=1>(f, wide)",
        "p = GlobalAveragePool(a) f = Flatten<axis=2>(p) y = Relu(f)",
        "p = GlobalAveragePool(a) f = Flatten(p) y = Gemm(f, w5)",
        "p = GlobalAveragePool(a) f = Flatten(p) y = Gemm<transB=1, alpha=0.5>(f, dense)",
        "p = GlobalAveragePool(a) f = Flatten(p) y = MatMul(f, w5)",
        "k = Relu(w3) y = Conv(a, k)",
        "k = Relu(ones) y = Conv(a, w2, k)",
    ],
)
def test_what_is_not_understood_is_fixed(graph_of: GraphOf, nodes: str) -> None:
    weights = WEIGHTS | {"w5": np.ones((4, 5), np.float32)}
    assert not are_free(tie_channels(graph_of(f"a = Conv(x, w1) {nodes}", weights)), "a")

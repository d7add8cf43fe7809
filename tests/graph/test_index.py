"""Look-ups in a graph, and changes to its constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edgecnn.graph.index import GraphIndex, attribute, opset_version

GraphOf = Callable[..., onnx.ModelProto]

WEIGHTS = {"w": np.ones((3, 3, 1, 1), np.float32), "b": np.zeros(3, np.float32)}
NODES = "a = Conv(x, w, b) c = Conv<strides=[2,2]>(x, w, b) r = Relu(a) d = Add(r, r) y = Add(d, a)"


@pytest.fixture
def index(graph_of: GraphOf) -> GraphIndex:
    return GraphIndex(graph_of(NODES, WEIGHTS).graph)


def test_who_makes_and_who_reads_a_value(index: GraphIndex) -> None:
    assert index.producers["r"].op_type == "Relu"
    assert [node.name for node in index.consumers["x"]] == ["a", "c"]
    assert [node.name for node in index.consumers["r"]] == ["d"], "a node that reads twice is one reader"
    assert index.outputs == {"y"}


def test_a_sole_consumer_is_the_only_one_to_see_the_value(index: GraphIndex) -> None:
    found = index.sole_consumer("r")
    assert found is not None
    assert found.name == "d"
    assert index.sole_consumer("a") is None, "two read it"
    assert index.sole_consumer("y") is None, "the user reads it"
    assert index.sole_consumer("nothing") is None


def test_constants_are_copies(index: GraphIndex) -> None:
    assert index.is_constant("w")
    assert not index.is_constant("x")
    copy = index.constant("b") + 1
    assert copy.tolist() == [1, 1, 1]
    assert index.constant("b").tolist() == [0, 0, 0]
    with pytest.raises(KeyError):
        index.constant("x")


def test_a_new_constant_takes_no_ones_name(index: GraphIndex) -> None:
    assert index.add_constant("k", np.float32(2)) == "k"
    assert index.add_constant("k", np.float32(3)) == "k_2"
    assert index.add_constant("k", np.float32(4)) == "k_3"
    assert index.add_constant("r", np.float32(5)) == "r_2", "a node makes r"
    assert [index.constant(name) for name in ("k", "k_2", "k_3", "r_2")] == [2, 3, 4, 5]
    assert len(index.graph.initializer) == 6


def test_a_replaced_constant_is_in_the_graph(index: GraphIndex) -> None:
    index.replace_constant("b", np.array([1, 2, 3], np.float32))
    assert index.constant("b").tolist() == [1, 2, 3]
    assert [tensor.name for tensor in index.graph.initializer] == ["w", "b"]


def test_a_node_that_gets_values_of_its_own_leaves_the_others_alone(index: GraphIndex) -> None:
    first, second = index.consumers["b"]
    index.replace_input(first, 2, np.array([1, 1, 1], np.float32))
    index.replace_input(second, 2, np.array([2, 2, 2], np.float32))
    assert index.constant(first.input[2]).tolist() == [1, 1, 1]
    assert second.input[2] == "b", "the last one needs no copy"
    assert index.constant("b").tolist() == [2, 2, 2]
    index.replace_input(first, 2, np.array([3, 3, 3], np.float32))
    assert len(index.graph.initializer) == 3


def test_attributes_and_their_defaults(index: GraphIndex) -> None:
    first, second = index.consumers["x"]
    assert attribute(second, "strides", [1, 1]) == [2, 2]
    assert attribute(first, "strides", [1, 1]) == [1, 1]


def test_the_opset_is_that_of_the_standard_operators(graph_of: GraphOf) -> None:
    model = graph_of(NODES, WEIGHTS, opset=17)
    model.opset_import.insert(0, onnx.helper.make_opsetid("com.microsoft", 1))
    assert opset_version(model) == 17

"""Every node gets a name of its own, which is the value that it makes where it has none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.graph.layers import graph_layers
from edgecnn.graph.node_names import name_apart, node_names

GraphOf = Callable[..., onnx.ModelProto]


def named(*names: str) -> onnx.GraphProto:
    graph = onnx.GraphProto()
    for at, name in enumerate(names):
        graph.node.append(onnx.helper.make_node("Relu", [f"v{at}"], [f"v{at + 1}"], name=name))
    return graph


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a", "b"), ["a", "b"]),
        (("", ""), ["v1", "v2"]),
        (("a", "a", "b"), ["v1", "v2", "b"]),
        (("", "v1"), ["v1_2", "v1"]),
        (("", "v1", "v1_2"), ["v1_3", "v1", "v1_2"]),
    ],
)
def test_names(names: tuple[str, ...], expected: list[str]) -> None:
    graph = named(*names)
    assert node_names(graph) == expected
    assert name_apart(graph) == sum(old != new for old, new in zip(names, expected, strict=True))
    assert [node.name for node in graph.node] == expected


@given(st.lists(st.sampled_from(["", "a", "b", "v1", "v2", "v1_2", "v2_2"]), max_size=8))
def test_no_two_are_alike_and_a_second_time_changes_nothing(names: list[str]) -> None:
    graph = named(*names)
    name_apart(graph)
    found = [node.name for node in graph.node]
    assert "" not in found
    assert len(set(found)) == len(found)
    assert all(name in found for name in names if name and names.count(name) == 1)
    assert name_apart(graph) == 0


def test_an_optional_first_value_names_nothing() -> None:
    graph = onnx.GraphProto()
    graph.node.append(onnx.helper.make_node("Dropout", ["x"], ["", "mask"]))
    graph.node.append(onnx.helper.make_node("Custom", ["x"], []))
    assert node_names(graph) == ["mask", "Custom"]


@pytest.mark.parametrize("name", ["", "node"])
def test_the_names_are_those_that_inspect_shows(graph_of: GraphOf, name: str) -> None:
    weights = {"w": np.ones((3, 3, 1, 1), np.float32)}
    model = graph_of("a = Conv(x, w) b = Relu(a) y = Conv(b, w)", weights)
    for node in model.graph.node:
        node.name = name
    shown = [layer.node for layer in graph_layers(model)]
    name_apart(model.graph)
    assert shown == [node.name for node in model.graph.node if node.op_type == "Conv"] == ["a", "y"]

"""Nodes in an order that ONNX accepts, without constants that nobody reads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edgecnn.graph.order import tidy

GraphOf = Callable[..., onnx.ModelProto]

WEIGHTS = {"w": np.ones((4, 3, 1, 1), np.float32), "v": np.ones((4, 4, 1, 1), np.float32)}
NODES = "a = Conv(x, w) b = Relu(a) c = Conv(b, v) s = Add(b, c) y = Relu(s)"


def shuffled(model: onnx.ModelProto, order: list[int]) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(model.graph.node[at] for at in order)
    return result


@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 0, 2, 3, 4]])
def test_any_order_becomes_a_valid_one(order: list[int], graph_of: GraphOf) -> None:
    model = shuffled(graph_of(NODES, WEIGHTS), order)
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    tidy(model)
    onnx.checker.check_model(model, full_check=True)
    assert sorted(node.name for node in model.graph.node) == ["a", "b", "c", "s", "y"]


def test_a_valid_order_stays(graph_of: GraphOf) -> None:
    model = graph_of(NODES, WEIGHTS)
    before = model.SerializeToString(deterministic=True)
    tidy(model)
    assert model.SerializeToString(deterministic=True) == before


def test_the_same_nodes_in_the_same_order_give_the_same_file(graph_of: GraphOf) -> None:
    models = [shuffled(graph_of(NODES, WEIGHTS), [4, 3, 2, 1, 0]) for _ in range(2)]
    for model in models:
        tidy(model)
    assert len({model.SerializeToString(deterministic=True) for model in models}) == 1


def test_constants_that_nobody_reads_are_removed(graph_of: GraphOf) -> None:
    constants = WEIGHTS | {"unread": np.zeros(3, np.float32), "kept": np.array(1.0, np.float32)}
    model = graph_of(NODES.replace("Relu(s)", "Add(s, kept)"), constants)
    tidy(model)
    assert [tensor.name for tensor in model.graph.initializer] == ["w", "v", "kept"]


def test_a_constant_that_is_an_output_stays(graph_of: GraphOf) -> None:
    model = graph_of(NODES, WEIGHTS | {"z": np.zeros(3, np.float32)})
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [3]))
    tidy(model)
    assert "z" in {tensor.name for tensor in model.graph.initializer}


def test_a_circle_is_no_graph(graph_of: GraphOf) -> None:
    model = graph_of(NODES, WEIGHTS)
    model.graph.node[0].input[0] = "y"
    with pytest.raises(ValueError, match="cycle"):
        tidy(model)

"""The share of multiply-accumulates that ONNX Runtime really runs on 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import pytest

from edgecnn.quantize.dynamic import quantize_dynamically
from edgecnn.quantize.kernels import int8_mac_share, macs_by_node
from edgecnn.quantize.placement import Scheme, place_qdq

GraphOf = Callable[..., onnx.ModelProto]
SmallOf = Callable[[str], Any]

SCHEME = Scheme(signed_activations=False, reduce_range=False)

#: Of "residual" and "silu", for one image: 16 x 16 pixels, and 10 classes.
MACS = {"a": 256 * 16 * 27, "d": 256 * 16 * 9, "c": 256 * 16 * 16, "y": 160}


def test_multiply_accumulates_by_node(small: SmallOf) -> None:
    assert macs_by_node(small("residual").model) == MACS


@pytest.mark.parametrize("name", ["residual", "silu", "excite"])
def test_all_of_an_int8_network(name: str, small: SmallOf) -> None:
    made = small(name)
    placed = place_qdq(made.model, made.ranges, SCHEME, ())
    assert int8_mac_share(placed, macs_by_node(made.model)) == 100.0


def test_nothing_of_a_float_network(small: SmallOf) -> None:
    model = small("residual").model
    assert int8_mac_share(model, macs_by_node(model)) == 0.0


@pytest.mark.parametrize("node", ["a", "c", "d"])
def test_what_is_kept_in_float_is_not_counted(node: str, small: SmallOf) -> None:
    made = small("residual")
    placed = place_qdq(made.model, made.ranges, SCHEME, (node,))
    expected = 100 * (1 - MACS[node] / sum(MACS.values()))
    assert int8_mac_share(placed, macs_by_node(made.model)) == pytest.approx(expected)


def test_dynamic_ranges_count(small: SmallOf) -> None:
    model = small("residual").model
    share = int8_mac_share(quantize_dynamically(model, ()), macs_by_node(model))
    assert share == pytest.approx(100 * MACS["y"] / sum(MACS.values()))


def test_nothing_to_multiply(graph_of: GraphOf) -> None:
    model = graph_of("y = Relu(x)", {})
    assert int8_mac_share(model, macs_by_node(model)) == 0.0

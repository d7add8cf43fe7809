"""The share of multiply-accumulates that ONNX Runtime really runs on 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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


def resized(model: onnx.ModelProto, *sizes: str | int) -> onnx.ModelProto:
    """A copy with other dimensions of the input, but for the batch; a name is for any size."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for dimension, size in zip(copy.graph.input[0].type.tensor_type.shape.dim[1:], sizes, strict=True):
        dimension.CopyFrom(onnx.TensorShapeProto.Dimension())
        if isinstance(size, int):
            dimension.dim_value = size
        else:
            dimension.dim_param = size
    return copy


def test_multiply_accumulates_by_node(small: SmallOf) -> None:
    assert macs_by_node(small("residual").model) == MACS


@pytest.mark.parametrize("sizes", [(3, "h", "w"), ("c", 16, "w"), (3, "", "")])
def test_any_size_counts_as_that_of_the_images(sizes: tuple[str | int, ...], small: SmallOf) -> None:
    model = resized(small("residual").model, *sizes)
    before = model.SerializeToString()
    assert macs_by_node(model, (3, 16, 16)) == MACS
    double = macs_by_node(resized(small("residual").model, 3, "h", "w"), (3, 16, 32))
    assert double == {**{name: 2 * count for name, count in MACS.items()}, "y": MACS["y"]}
    assert model.SerializeToString() == before


def test_paddings_that_an_exporter_computes_are_known(graph_of: GraphOf) -> None:
    """As torch.jit.trace writes the shortcuts of a CIFAR ResNet."""
    nodes = """two = Constant<value_ints=[2]>() none = ConstantOfShape<value=int64[1] {0}>(two)
        all = Concat<axis=0>(first, none)
        pairs = Reshape(all, by_axis) turned = Transpose<perm=[1,0]>(pairs) pads = Reshape(turned, flat)
        wide = Pad(x, pads) v = Constant<value=float[4,5,1,1] {WEIGHTS}>() y = Conv(wide, v)"""
    constants = {"first": [0, 0, 1, 1, 0, 0], "by_axis": [4, 2], "flat": [-1]}
    numbers = {name: np.array(values, np.int64) for name, values in constants.items()}
    model = graph_of(nodes.replace("WEIGHTS", ", ".join(["1.0"] * 20)), numbers)
    assert macs_by_node(model, (3, 8, 8)) == {"y": 4 * 5 * 64}


def test_shapes_that_stay_unknown_make_no_number(graph_of: GraphOf) -> None:
    weight = np.ones((4, 3, 1, 1), np.float32)
    nodes = "n = NonZero(x) m = Cast<to=1>(n) r = Reshape(m, to) y = Conv(r, w)"
    model = graph_of(nodes, {"w": weight, "to": np.array([1, 3, -1, 1])})
    macs = macs_by_node(model, (3, 16, 16))
    assert macs is None
    assert int8_mac_share(model, macs) is None


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
    assert int8_mac_share(model, macs_by_node(model)) is None

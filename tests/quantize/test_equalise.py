"""Equalised channels: the same function, with activations that are more alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn.graph.constants import store_constants
from edgecnn.quantize.calibration import measure_channels
from edgecnn.quantize.channels import tie_channels
from edgecnn.quantize.equalise import equalise
from edgecnn.quantize.sessions import Session

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]

IMAGES = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
SAME = 'auto_pad="SAME_UPPER"'


def uneven(*shape: int, spread: float = 10) -> Array:
    """Weights of which some outputs are ``spread**2`` times as large as others."""
    rng = np.random.default_rng(sum(shape))
    sizes = rng.permutation(np.geomspace(1 / spread, spread, shape[0])).reshape(-1, *[1] * (len(shape) - 1))
    return np.asarray(rng.normal(size=shape) * sizes / np.prod(shape[1:]) ** 0.5, np.float32)


WEIGHTS = {
    "w1": uneven(6, 3, 3, 3),
    "b1": uneven(6),
    "w2": uneven(6, 6, 3, 3),
    "b2": uneven(6, 1)[:, 0],
    "w3": uneven(6, 6, 1, 1, spread=1) * np.abs(uneven(6, 3, 3, 3)).max(axis=(1, 2, 3))[:, None, None, None],
    "w4": uneven(4, 6, 1, 1),
    "both": uneven(4, 12, 1, 1),
    "depth": uneven(6, 1, 3, 3),
    "doubled": uneven(12, 1, 3, 3),
    "grouped": uneven(6, 3, 3, 3),
    "dense": uneven(4, 6),
    "transposed": uneven(6, 4),
    "flat": uneven(4, 6 * 64),
    "rows": np.array([-1, 6], np.int64),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
}

#: What follows the first convolution and its ReLU, "r".
BODIES = {
    "plain": "y = Conv(r, w4)",
    "deep": f"b = Conv<{SAME}>(r, w2, b2) c = Relu(b) y = Conv(c, w4)",
    "leaky": "b = Conv(r, w2, b2) c = LeakyRelu<alpha=0.2>(b) y = Conv(c, w4)",
    "pooled": "p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(r) y = Conv(p, w4)",
    "averaged": "p = AveragePool<kernel_shape=[2,2]>(r) y = Conv(p, w4)",
    "residual": f"""b = Conv<{SAME}>(r, w2) c = Relu(b) d = Conv(c, w3, b2) s = Add(r, d)
        t = Relu(s) y = Conv(t, w4)""",
    "branches": f"b = Conv<{SAME}>(r, w2) c = Relu(b) d = Concat<axis=1>(c, r) y = Conv(d, both)",
    "depthwise": f"b = Conv<group=6, {SAME}>(r, depth, b2) c = Relu(b) y = Conv(c, w4)",
    "doubled": f"b = Conv<group=6, {SAME}>(r, doubled) c = Relu(b) y = Conv(c, both)",
    "grouped": f"b = Conv<group=2, {SAME}>(r, grouped, b2) c = Relu(b) y = Conv(c, w4)",
    "reshape": "p = GlobalAveragePool(r) f = Reshape(p, rows) y = Gemm<transB=1>(f, dense)",
    "flatten": "p = GlobalAveragePool(r) f = Flatten(p) y = Gemm<transB=1>(f, dense)",
    "same weights twice": f"""b = Conv<{SAME}>(r, w2, b2) c = Relu(b) d = Conv(c, w2, b2) e = Relu(d)
        y = Conv(e, w4)""",
    "same bias twice": f"b = Conv<{SAME}>(r, w2, b1) c = Relu(b) y = Conv(c, w4)",
}


def model_of(graph_of: GraphOf, body: str) -> onnx.ModelProto:
    return graph_of(f"a = Conv<{SAME}>(x, w1, b1) r = Relu(a) {body}", WEIGHTS)


def equalised(
    model: onnx.ModelProto, migration: float = 0.5, images: Array = IMAGES
) -> tuple[onnx.ModelProto, int]:
    names = [name for node in model.graph.node for name in node.input if name in tie_channels(model).channels]
    found = measure_channels(model, names, images, threads=1)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy, equalise(copy, {name: item.largest for name, item in found.items()}, migration)


def assert_same_answers(model: onnx.ModelProto, other: onnx.ModelProto, images: Array = IMAGES) -> None:
    """Each weight is rounded once to float32, and sums of up to 54 products are: 1e-5 is 80 roundings."""
    before, after = (Session(each, threads=1).run(images)[0] for each in (model, other))
    assert np.abs(before - after).max() <= 1e-5 * np.abs(before).max()


def unevenness(model: onnx.ModelProto, value: str) -> float:
    """How many times as wide as the narrowest channel the widest is."""
    largest = measure_channels(model, [value], IMAGES, threads=1)[value].largest
    return float(largest.max() / largest.min())


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("migration", [0.0, 0.5, 1.0])
def test_the_model_answers_as_before(graph_of: GraphOf, body: str, migration: float) -> None:
    model = model_of(graph_of, body)
    changed, count = equalised(model, migration)
    assert_same_answers(model, changed)
    assert count > 0


@pytest.mark.parametrize(("network", "scaled"), [("cifar_resnet20", True), ("lenet5", False)])
def test_an_exported_network_answers_as_before(
    export: Callable[[str], onnx.ModelProto], network: str, scaled: bool
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(export(network))
    store_constants(model)
    sizes = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    images = np.random.default_rng(1).normal(size=(2, *sizes)).astype(np.float32)
    changed, count = equalised(model, images=images)
    assert (count > 0) == scaled, "no factor passes LeNet's tanh"
    assert_same_answers(model, changed, images)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_channels_become_alike(graph_of: GraphOf, body: str) -> None:
    model = model_of(graph_of, body)
    halfway, wholly = equalised(model, 0.5)[0], equalised(model, 1.0)[0]
    assert unevenness(model, "a") > 10
    assert unevenness(halfway, "a") < unevenness(model, "a") / 2
    assert unevenness(wholly, "a") < unevenness(model, "a") / 4


def test_with_all_weight_on_the_activations_they_become_equal(graph_of: GraphOf) -> None:
    weights = WEIGHTS | {"w1": uneven(6, 3, 3, 3, spread=3)}
    model = graph_of(f"a = Conv<{SAME}>(x, w1) y = Conv(a, w4)", weights)
    changed, count = equalised(model, 1.0)
    assert count == 5  # the widest one keeps its size
    assert unevenness(changed, "a") == pytest.approx(1, abs=1e-5)  # float32


def test_no_factor_exceeds_32(graph_of: GraphOf) -> None:
    model = model_of(graph_of, BODIES["plain"])
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    equalise(changed, {"r": np.array([1e-9, 1e-3, 1e-1, 1, 1, 1])}, 1.0)
    ratio = weights_of(model)["w1"][:, 0, 0, 0] / weights_of(changed)["w1"][:, 0, 0, 0]
    assert ratio == pytest.approx([1 / 32, 1 / 32, 0.1, 1, 1, 1], rel=1e-6)
    assert_same_answers(model, changed)


@pytest.mark.parametrize(
    "body",
    [
        "c = Clip(a, zero, six) y = Conv(c, w4)",
        "c = HardSwish(a) y = Conv(c, w4)",
        "s = Sigmoid(a) c = Mul(a, s) y = Conv(c, w4)",
        "y = Relu(a)",
        "f = Flatten(a) y = Gemm<transB=1>(f, flat)",
        "p = GlobalAveragePool(a) f = Flatten(p) y = Gemm(f, transposed)",
        "p = GlobalAveragePool(a) f = Flatten(p) y = MatMul(f, transposed)",
    ],
)
def test_what_takes_no_factor_stays_as_it_is(graph_of: GraphOf, body: str) -> None:
    model = graph_of(f"a = Conv<{SAME}>(x, w1, b1) {body}", WEIGHTS)
    changed, count = equalised(model)
    assert count == 0
    for name, values in weights_of(model).items():
        np.testing.assert_array_equal(weights_of(changed)[name], values, err_msg=name)


def test_a_fixed_branch_beside_a_free_one_keeps_its_channels(graph_of: GraphOf) -> None:
    nodes = f"""a = Conv<{SAME}>(x, w1, b1) b = Conv<{SAME}>(x, w1) s = Sigmoid(b) g = Mul(s, b)
        h = Concat<axis=1>(a, b) c = Conv(h, both) y = Add(c, e) e = Conv(g, w4)"""
    model = graph_of(nodes.replace("y = Add(c, e) e = Conv(g, w4)", "e = Conv(g, w4) y = Add(c, e)"), WEIGHTS)
    changed, count = equalised(model)
    assert count == 6
    before, after = weights_of(model)["both"], weights_of(changed)["both"]
    np.testing.assert_array_equal(after[:, 6:], before[:, 6:])
    assert np.all(after[:, :6] != before[:, :6])
    assert_same_answers(model, changed)


def test_channels_that_are_never_excited_stay(graph_of: GraphOf) -> None:
    model = model_of(graph_of, BODIES["plain"])
    assert equalise(model, {"r": np.zeros(6)}) == 0
    assert equalise(model, {}) == 0


def weights_of(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

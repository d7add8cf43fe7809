"""Whether an int8 model answers the same without VNNI."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgecnn.environment import describe_environment
from edgecnn.errors import ArtifactError, QuantizationError
from edgecnn.quantize.operators import OPERATORS
from edgecnn.quantize.portability import check_portability, emulated_scores

Array = NDArray[Any]
SIZE = 9

#: Of the 16-bit sums; on other x86 processors ONNX Runtime itself saturates.
EXACT_HERE = describe_environment().instruction_sets
needs_vnni = pytest.mark.skipif(
    EXACT_HERE is None or not any("vnni" in name for name in EXACT_HERE), reason="needs a processor with VNNI"
)


def images(count: int, axes: int = 2) -> NDArray[np.float32]:
    return np.random.default_rng(7).normal(size=(count, 3, *[SIZE] * axes)).astype(np.float32)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, Array],
    *,
    batch: int | str = "batch",
    opset: int = 18,
    axes: int = 2,
) -> onnx.ModelProto:
    """From ``x`` (batch, 3, 9, 9), or with another number of ``axes``, to ``y``."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, *[SIZE] * axes])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: onnx.ModelProto, batch: Array) -> Array:
    """What ONNX Runtime answers."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores: Array = session.run(None, {"x": batch})[0]
    return scores


class Readings(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self._batches: Iterator[Array] = iter(np.split(images(16), 16))

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}


def network() -> onnx.ModelProto:
    """Convolutions of every kind, a pooling, and a product."""
    numbers = np.random.default_rng(3)

    def weight(*shape: int) -> Array:
        return np.asarray(numbers.normal(size=shape) / np.sqrt(np.prod(shape[1:])), np.float32)

    constants = {
        "a": weight(8, 3, 3, 3),
        "a_b": weight(8),
        "b": weight(8, 1, 3, 3),
        "b_b": weight(8),
        "c": weight(12, 4, 3, 2),
        "c_b": weight(12),
        "d": weight(16, 12, 1, 1),
        "d_b": weight(16),
        "e": weight(6, 16),
        "e_b": weight(6),
        "rest": np.array([0, -1], np.int64),
        "axes": np.array([2, 3], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a", "a_b"], ["1"], name="first", pads=[1, 0, 1, 2]),
        helper.make_node("Relu", ["1"], ["2"], name="relu"),
        helper.make_node(
            "Conv", ["2", "b", "b_b"], ["3"], name="depthwise", group=8, strides=[2, 1], pads=[1, 1, 1, 1]
        ),
        helper.make_node("MaxPool", ["3"], ["4"], name="pool", kernel_shape=[2, 2], ceil_mode=1),
        helper.make_node(
            "Conv", ["4", "c", "c_b"], ["5"], name="grouped", group=2, dilations=[1, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Conv", ["5", "d", "d_b"], ["6"], name="pointwise"),
        helper.make_node("ReduceMean", ["6", "axes"], ["7"], name="mean"),
        helper.make_node("Reshape", ["7", "rest"], ["8"], name="reshape"),
        helper.make_node("Gemm", ["8", "e", "e_b"], ["y"], name="gemm", transB=1),
    ]
    return model_of(nodes, constants)


def quantised(folder: Path, **settings: Any) -> onnx.ModelProto:
    onnx.save(network(), folder / "float.onnx")
    chosen = {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        **settings,
    }
    quantize_static(folder / "float.onnx", folder / "int8.onnx", Readings(), **chosen)
    return onnx.load(folder / "int8.onnx")


def step_of(model: onnx.ModelProto) -> float:
    """The smallest difference of two scores."""
    last = next(node for node in model.graph.node if node.output[0] == "y")
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == last.input[1])
    return float(numpy_helper.to_array(scale).item())


@pytest.mark.parametrize("per_channel", [True, False])
def test_exact_arithmetic_is_that_of_onnx_runtime(tmp_path: Path, per_channel: bool) -> None:
    # Weights of 7 bits: so the runtime is exact on any processor.
    model = quantised(tmp_path, reduce_range=True, per_channel=per_channel)
    batch = images(6)
    difference = np.abs(emulated_scores(model, batch, saturating=False) - run(model, batch))
    # The runtime multiplies three scales into one in float32: a tie may round the other way, by one step.
    assert difference.max() <= 1.01 * step_of(model)
    assert np.count_nonzero(difference) <= 1


def test_weights_of_seven_bits_are_portable(tmp_path: Path) -> None:
    model = quantised(tmp_path, reduce_range=True)
    batch = images(6)
    found = check_portability(model, batch, run(model, batch))
    assert not found.can_saturate
    assert (found.layers_able, found.saturating_layers, found.top1_changed) == ((), (), 0)
    assert (found.layers_checked, found.layers_exempt, found.images) == (4, 1, 6)
    assert found.top1_vs_runtime == 0
    exact, less = (emulated_scores(model, batch[:2], saturating=flag) for flag in (False, True))
    assert np.array_equal(exact, less)


@needs_vnni
def test_all_of_int8s_range_is_exact_with_vnni(tmp_path: Path) -> None:
    model = quantised(tmp_path)
    batch = images(6)
    found = check_portability(model, batch, run(model, batch))
    assert found.can_saturate
    assert found.top1_vs_runtime == 0
    assert "depthwise" not in found.layers_able


def constant_pair(
    name: str, values: Array, scale: float | list[float]
) -> tuple[onnx.NodeProto, dict[str, Array]]:
    """Constants and the DequantizeLinear that makes ``<name>_real`` of them."""
    scales = np.asarray(scale, np.float32)
    constants = {name: values, f"{name}_s": scales, f"{name}_z": np.zeros(scales.shape, values.dtype)}
    node = helper.make_node(
        "DequantizeLinear", list(constants), [f"{name}_real"], axis=0 if scales.ndim else None
    )
    return node, constants


def saturating(batch: int | str = "batch", weight: int = 127) -> onnx.ModelProto:
    """Of two channels of three each class has the sum: class 0 of neighbours, class 1 of the outer ones.

    On a grey image the sums are equal, and the bias prefers class 0; saturation takes away from class 0
    alone, since the weights of class 1 do not meet.
    """
    kernel = np.array([[weight, weight, 0], [weight, 0, weight]], np.int8).reshape(2, 3, 1, 1)
    made, constants = constant_pair("w", kernel, [0.01, 0.01])
    constants |= {
        "x_s": np.array(1, np.float32),
        "x_z": np.array(0, np.uint8),
        "b": np.array([1, 0], np.float32),
        "axes": np.array([2, 3], np.int64),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_s", "x_z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "x_s", "x_z"], ["real"]),
        made,
        helper.make_node("Conv", ["real", "w_real", "b"], ["sums"], name="products"),
        helper.make_node("ReduceMean", ["sums", "axes"], ["y"], keepdims=0),
    ]
    return model_of(nodes, constants, batch=batch)


def bright(count: int) -> NDArray[np.float32]:
    """Images of 255, and behind them as many of 100, where nothing saturates."""
    levels = np.repeat([255, 100], count).astype(np.float32)
    return np.broadcast_to(levels[:, None, None, None], (2 * count, 3, SIZE, SIZE)).copy()


def test_a_model_that_saturates_is_found_out() -> None:
    found = check_portability(saturating(), bright(2), np.array([[1, 0], [1, 0], [0, 1], [1, 0]]))
    assert found.layers_able == ("products",)
    # Half of the images; there, of 2 outputs with 2 sums of two each, one.
    assert dict(found.saturating_layers) == {"products": pytest.approx(100 * 0.5 / 4)}
    assert found.top1_changed == 2
    assert found.top1_vs_runtime == 1


def test_what_saturation_takes_away() -> None:
    exact = emulated_scores(saturating(), bright(1), saturating=False)
    less = emulated_scores(saturating(), bright(1), saturating=True)
    assert exact == pytest.approx(np.array([[648.7, 647.7], [255, 254]]), rel=1e-6)
    assert less == pytest.approx(np.array([[328.67, 647.7], [255, 254]]), rel=1e-6)


def test_images_on_which_nothing_saturates_say_that_it_could() -> None:
    found = check_portability(saturating(), bright(1)[1:])
    assert found.can_saturate
    assert (found.saturating_layers, found.top1_changed, found.top1_vs_runtime) == ((), 0, None)


def test_padding_and_zero_points_are_multiplied_as_they_are_stored() -> None:
    """Of a dark image with zero point 255, it is the padding that saturates."""
    made, constants = constant_pair("w", np.full((1, 3, 3, 3), 127, np.int8), [0.01])
    constants |= {"x_s": np.array(1, np.float32), "x_z": np.array(255, np.uint8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_s", "x_z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "x_s", "x_z"], ["real"]),
        made,
        helper.make_node("Conv", ["real", "w_real"], ["y"], name="products", pads=[1, 1, 1, 1]),
    ]
    model = model_of(nodes, constants)
    dark = np.full((1, 3, SIZE, SIZE), -255, np.float32)
    exact, less = (emulated_scores(model, dark, saturating=flag) for flag in (False, True))
    assert exact[0, 0, 4, 4] == pytest.approx(-255 * 1.27 * 27, rel=1e-6)
    assert np.array_equal(exact[0, 0, 1:-1, 1:-1], less[0, 0, 1:-1, 1:-1])
    assert np.all(less[0, 0, 0] < exact[0, 0, 0])


@pytest.mark.parametrize(
    ("places", "saturates"),
    [
        ([(0, 0), (1, 0)], True),  # two channels at one place
        ([(0, 0), (0, 1)], False),  # one channel at two places
        ([(2, 0), (0, 1)], True),  # the last channel of a place meets the first of the next
        ([(1, 0), (2, 0)], False),  # the second pair begins with the third channel
    ],
)
def test_channels_are_innermost(places: list[tuple[int, int]], saturates: bool) -> None:
    kernel = np.zeros((1, 3, 1, 2), np.int8)
    for channel, column in places:
        kernel[0, channel, 0, column] = 127
    made, constants = constant_pair("w", kernel, 0.01)
    constants |= {"x_s": np.array(1, np.float32), "x_z": np.array(0, np.uint8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_s", "x_z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "x_s", "x_z"], ["real"]),
        made,
        helper.make_node("Conv", ["real", "w_real"], ["y"], name="products"),
    ]
    assert check_portability(model_of(nodes, constants), bright(1)).can_saturate == saturates


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_products_of_matrices(op: str) -> None:
    made, constants = constant_pair("w", np.full((3 * SIZE * SIZE, 2), 127, np.int8), 0.01)
    constants |= {"x_s": np.array(1, np.float32), "x_z": np.array(0, np.uint8)}
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("QuantizeLinear", ["flat", "x_s", "x_z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "x_s", "x_z"], ["real"]),
        made,
        helper.make_node(op, ["real", "w_real"], ["y"], name="products"),
    ]
    found = check_portability(model_of(nodes, constants), bright(1))
    # Half of the images, where every sum of two saturates but the last, which is of one.
    assert dict(found.saturating_layers) == {"products": pytest.approx(50 * 121 / 122)}


ZEROS = np.array([5, -3, 0, 7, 1, -9], np.int8)


@pytest.mark.parametrize(
    ("op", "shape", "axis", "attributes"),
    [
        ("Conv", (6, 3, 3), 0, {"pads": [1, 1]}),
        ("Conv", (6, 1, 5), 0, {"group": 3, "strides": [2]}),
        ("Conv", (3, 1, 3), 0, {"group": 3, "pads": [0, 2], "dilations": [2]}),
        ("Conv", (4, 3, 2, 3, 1), 0, {"strides": [1, 2, 3]}),
        ("Conv", (6, 3, 3, 3), 0, {"pads": [1, 1, 1, 1]}),
        ("Conv", (6, 1, 3, 3), 0, {"group": 3, "strides": [2, 2]}),
        ("Conv", (3, 1, 3, 3), 0, {"group": 3, "pads": [1, 0, 0, 1]}),
        ("Gemm", (3 * SIZE * SIZE, 6), 1, {"alpha": 0.5, "beta": 2.0}),
        ("Gemm", (6, 3 * SIZE * SIZE), 0, {"transB": 1}),
        ("MatMul", (SIZE, 6), 1, {}),
    ],
)
def test_every_form_is_what_the_graph_says(
    op: str, shape: tuple[int, ...], axis: int, attributes: dict[str, Any]
) -> None:
    """Also with zero points of weights, against the same graph computed in float."""
    numbers = np.random.default_rng(11)
    count = shape[axis]
    constants: dict[str, Array] = {
        "x_s": np.array(0.02, np.float32),
        "x_z": np.array(120, np.uint8),
        "w": numbers.integers(-128, 128, shape, np.int8),
        "w_s": numbers.uniform(0.001, 0.01, count).astype(np.float32),
        "w_z": ZEROS[:count],
        "b": numbers.normal(size=count).astype(np.float32),
    }
    biased = ["b"] if op != "MatMul" else []
    nodes = [
        helper.make_node("Flatten" if op == "Gemm" else "Identity", ["x"], ["in"]),
        helper.make_node("QuantizeLinear", ["in", "x_s", "x_z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "x_s", "x_z"], ["real"]),
        helper.make_node("DequantizeLinear", ["w", "w_s", "w_z"], ["w_real"], axis=axis),
        helper.make_node(op, ["real", "w_real", *biased], ["y"], name="products", **attributes),
    ]
    axes = len(shape) - 2 if op == "Conv" else 2
    model, batch = model_of(nodes, constants, axes=axes), images(2, axes)
    found = check_portability(model, batch)
    assert found.layers_checked + found.layers_exempt == 1
    # Sums of up to 243 products of numbers up to 3, in float32 against exact.
    np.testing.assert_allclose(
        emulated_scores(model, batch, saturating=False), evaluated(model, batch), atol=1e-4, rtol=1e-5
    )


def test_scales_along_what_is_summed_are_left_to_float() -> None:
    constants: dict[str, Array] = {
        "x_s": np.array(1, np.float32),
        "x_z": np.array(0, np.uint8),
        "w": np.full((SIZE, SIZE), 127, np.int8),
        "w_s": np.arange(1, SIZE + 1, dtype=np.float32),
        "w_z": np.zeros(SIZE, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_s", "x_z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "x_s", "x_z"], ["real"]),
        helper.make_node("DequantizeLinear", ["w", "w_s", "w_z"], ["w_real"], axis=0),
        helper.make_node("MatMul", ["real", "w_real"], ["y"], name="products"),
    ]
    model = model_of(nodes, constants)
    assert check_portability(model, bright(1)).layers_checked == 0
    assert np.array_equal(emulated_scores(model, bright(1), saturating=True), evaluated(model, bright(1)))


def test_a_model_with_a_fixed_batch_takes_as_many_at_a_time() -> None:
    assert check_portability(saturating(batch=2), bright(2)).top1_changed == 2
    with pytest.raises(ValueError, match="2 images at a time, and there are 3"):
        check_portability(saturating(batch=2), bright(2)[:3])


def test_scores_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="1 rows of scores for 2 images"):
        check_portability(saturating(), bright(1), np.zeros((1, 2)))


def test_a_float_model_has_nothing_to_check() -> None:
    model, batch = network(), images(3)
    found = check_portability(model, batch, run(model, batch))
    assert (found.layers_checked, found.layers_exempt, found.can_saturate) == (0, 0, False)
    assert found.top1_vs_runtime == 0


def test_operators_on_integers_are_refused(tmp_path: Path) -> None:
    model = quantised(tmp_path, quant_format=QuantFormat.QOperator)
    with pytest.raises(ArtifactError, match="QLinearConv"):
        check_portability(model, images(1))


def test_what_the_evaluator_cannot_run_is_said() -> None:
    model = saturating()
    (mean,) = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    mean.input[0] = "sums_of_ort"
    model.graph.node.insert(4, helper.make_node("FusedOfOrt", ["sums"], ["sums_of_ort"], domain="com.other"))
    model.opset_import.append(helper.make_opsetid("com.other", 1))
    with pytest.raises(QuantizationError, match=r"cannot run the model: .*FusedOfOrt"):
        check_portability(model, bright(1))


def test_the_model_is_not_changed() -> None:
    model = saturating()
    before = model.SerializeToString()
    check_portability(model, bright(1))
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1], "ceil_mode": 1},
        {"kernel_shape": [2, 2], "strides": [4, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [5, 5], "pads": [0, 0, 2, 2], "ceil_mode": 1},
        {"kernel_shape": [2, 3], "dilations": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [4, 4], "strides": [1, 1], "auto_pad": "SAME_LOWER"},
        {"kernel_shape": [4, 4], "strides": [2, 2], "auto_pad": "VALID"},
        {"kernel_shape": [3], "strides": [2], "pads": [0, 1], "ceil_mode": 1},
        {"kernel_shape": [4], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [2], "dilations": [3]},
        {"kernel_shape": [2, 3, 1], "strides": [2, 1, 3], "pads": [1, 0, 0, 0, 2, 0]},
    ],
)
def test_windows_are_those_of_onnx_runtime(attributes: dict[str, Any]) -> None:
    axes = len(attributes["kernel_shape"])
    batch = images(2, axes)
    pool = model_of([helper.make_node("MaxPool", ["x"], ["y"], **attributes)], {}, opset=19, axes=axes)
    assert np.array_equal(evaluated(pool, batch), run(pool, batch))
    for counted in (0, 1):
        node = helper.make_node("AveragePool", ["x"], ["y"], count_include_pad=counted, **attributes)
        mean = model_of([node], {}, opset=19, axes=axes)
        np.testing.assert_allclose(evaluated(mean, batch), run(mean, batch), atol=1e-6)
    if "ceil_mode" not in attributes:
        kernel = np.random.default_rng(5).normal(size=(4, 3, *attributes["kernel_shape"])).astype(np.float32)
        node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
        conv = model_of([node], {"w": kernel}, axes=axes)
        # Sums of up to 48 products in float32, in another order.
        np.testing.assert_allclose(evaluated(conv, batch), run(conv, batch), atol=1e-5)


@pytest.mark.parametrize("stored", [np.uint8, np.int8, np.int16])
def test_quantising_along_an_axis_is_that_of_onnx_runtime(stored: Any) -> None:
    limits = {"s": np.array([0.1, 0.01, 0.5], np.float32), "z": np.array([0, 3, 7], stored)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1),
    ]
    model = model_of(nodes, limits, opset=21)
    assert np.array_equal(evaluated(model, images(2)), run(model, images(2)))


def evaluated(model: onnx.ModelProto, batch: Array) -> Array:
    """What ONNX's evaluator answers with our operators."""
    (found,) = list(ReferenceEvaluator(model, new_ops=list(OPERATORS)).run(None, {"x": batch}))
    return np.asarray(found)

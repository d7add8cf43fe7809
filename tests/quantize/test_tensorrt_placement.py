"""Where Q/DQ go for TensorRT, with which numbers, and that the network still answers as before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn.artifact import graph_input, graph_output
from edgecnn.cards import find_card
from edgecnn.data import open_source
from edgecnn.errors import QuantizationError, UnknownNameError
from edgecnn.export.network import export_network
from edgecnn.export.settings import ExportSettings
from edgecnn.preprocess import prepare
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.tensorrt import quantize_for_tensorrt
from edgecnn.quantize.tensorrt_rules import tensorrt_violations
from edgecnn.weights import load_network

Export = Callable[[str], onnx.ModelProto]
Observe = Callable[[onnx.ModelProto, NDArray[np.float32]], Mapping[str, Range]]

CHANNELS = 2
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
MATRIX = RNG.normal(size=(CHANNELS, 3)).astype(np.float32)


class Everything(dict[str, Range]):
    """The same range for every value."""

    def __missing__(self, name: str) -> Range:
        return (-1.0, 2.0)

    def __contains__(self, name: object) -> bool:
        return True


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """Named after what it puts out."""
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def graph_of(*nodes: onnx.NodeProto, **constants: NDArray[np.float32]) -> onnx.ModelProto:
    """x (n, 2, 4, 4) -> the output of the last node."""
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", CHANNELS, 4, 4])
    given_out = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    weights = {"w": KERNEL, "v": KERNEL * 3, "b": np.ones(CHANNELS, np.float32)} | constants
    used = {name for entry in nodes for name in entry.input}
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items() if name in used]
    graph = helper.make_graph(list(nodes), "small", [taken], [given_out], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model.metadata_props.add(key="some", value="metadata")
    return onnx.shape_inference.infer_shapes(model)


def quantized(
    *nodes: onnx.NodeProto, keep: tuple[str, ...] = (), **constants: NDArray[np.float32]
) -> onnx.ModelProto:
    model = graph_of(*nodes, **constants)
    before = model.SerializeToString()
    result = quantize_for_tensorrt(model, Everything(), keep)
    onnx.checker.check_model(result, full_check=True)
    assert model.SerializeToString() == before
    assert result.metadata_props == model.metadata_props
    assert tensorrt_violations(result) == ()
    return result


def quantised_values(model: onnx.ModelProto) -> list[str]:
    """What QuantizeLinear nodes read, in order."""
    return [entry.input[0] for entry in model.graph.node if entry.op_type == "QuantizeLinear"]


def inputs_of(model: onnx.ModelProto, name: str) -> list[str]:
    return next(list(entry.input) for entry in model.graph.node if entry.name == name)


def arrays_of(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_a_convolution_keeps_its_activation_and_its_bias() -> None:
    model = quantized(node("Conv", "x w b", "c"), node("Relu", "c", "r"), node("Conv", "r v", "y"))
    assert quantised_values(model) == ["x", "r"]
    assert inputs_of(model, "c") == ["x/dequantized", "w/axis0/dequantized", "b"]
    assert inputs_of(model, "r") == ["c"]
    assert {"w", "v"} & arrays_of(model).keys() == set()


def test_a_value_with_several_readers_is_quantised_once() -> None:
    model = quantized(
        node("Relu", "x", "r"),
        node("Conv", "r w", "c"),
        node("Conv", "c v", "d"),
        node("Add", "d r", "s"),
        node("Conv", "s w", "y"),
    )
    assert quantised_values(model) == ["r", "c", "s"]
    assert inputs_of(model, "s") == ["d", "r/dequantized"]
    assert inputs_of(model, "y") == ["s/dequantized", "w/axis0/dequantized"]


@pytest.mark.parametrize(("order", "identity"), [("c r", 1), ("r c", 0)])
def test_the_identity_branch_of_a_sum(order: str, identity: int) -> None:
    model = quantized(node("Relu", "x", "r"), node("Conv", "r w", "c"), node("Add", order, "s"))
    assert inputs_of(model, "s")[identity] == "r/dequantized"
    assert inputs_of(model, "s")[1 - identity] == "c"


def test_of_two_convolutions_in_a_sum_the_shortcut_is_quantised() -> None:
    model = quantized(node("Conv", "x w", "c"), node("Conv", "x v", "d"), node("Add", "c d", "s"))
    assert inputs_of(model, "s") == ["c", "d/dequantized"]


def test_sums_without_a_convolution_and_with_constants_stay_float() -> None:
    model = quantized(
        node("Add", "x three", "a"),
        node("Relu", "x", "r"),
        node("Add", "a r", "s"),
        three=np.array(3, np.float32),
    )
    assert quantised_values(model) == []


def test_pools() -> None:
    model = quantized(
        node("MaxPool", "x", "m", kernel_shape=[1, 1]),
        node("AveragePool", "m", "a", kernel_shape=[1, 1]),
        node("GlobalAveragePool", "a", "g"),
    )
    assert quantised_values(model) == ["m", "a"]


@pytest.mark.parametrize("transposed", [0, 1])
def test_matrices_have_a_scale_per_output(transposed: int) -> None:
    weights = MATRIX.T if transposed else MATRIX
    model = quantized(
        node("GlobalAveragePool", "x", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f m", "y", transB=transposed),
        m=np.ascontiguousarray(weights),
    )
    axis = 1 - transposed
    stored = arrays_of(model)
    assert stored[f"m/axis{axis}/scale"] == pytest.approx(np.abs(MATRIX).max(axis=0) / 127)
    assert stored[f"m/axis{axis}/quantized"].dtype == np.int8


def test_matmul() -> None:
    model = quantized(node("MatMul", "x m", "y"), m=RNG.normal(size=(4, 3)).astype(np.float32))
    assert arrays_of(model)["m/axis1/scale"].shape == (3,)


def test_nodes_that_stay_float_keep_inputs_weights_and_their_sum() -> None:
    model = quantized(
        node("Conv", "x w", "c"),
        node("Add", "c x", "s"),
        node("Conv", "s w", "y"),
        keep=("c",),
    )
    assert quantised_values(model) == ["s"]
    assert inputs_of(model, "c") == ["x", "w"]
    assert inputs_of(model, "y") == ["s/dequantized", "w/axis0/dequantized"]


def test_weights_in_constant_nodes() -> None:
    constant = helper.make_node("Constant", [], ["k"], name="k", value=numpy_helper.from_array(KERNEL))
    model = quantized(constant, node("Conv", "x k", "y"))
    assert "Constant" not in {entry.op_type for entry in model.graph.node}
    assert "k/axis0/quantized" in arrays_of(model)


def test_a_channel_of_zeros_and_an_activation_that_never_fires() -> None:
    """TensorRT refuses a scale of 0."""
    weights = KERNEL.copy()
    weights[0] = 0
    model = quantize_for_tensorrt(graph_of(node("Conv", "x w", "y"), w=weights), {"x": (0.0, 0.0)})
    stored = arrays_of(model)
    assert stored["x/scale"] == 1
    assert stored["w/axis0/scale"][0] == 1


@given(
    arrays.arrays(
        np.float32,
        (CHANNELS, CHANNELS, 1, 1),
        elements=st.floats(-1000, 1000, width=32, allow_subnormal=False),
    )
)
def test_weights_are_at_most_half_a_step_off(weights: NDArray[np.float32]) -> None:
    """Beside float32's own rounding, of 2**-23 in the quotient of up to 127."""
    stored = arrays_of(quantize_for_tensorrt(graph_of(node("Conv", "x w", "y"), w=weights), Everything()))
    scale = stored["w/axis0/scale"].reshape(-1, 1, 1, 1)
    back = stored["w/axis0/quantized"].astype(np.float32) * scale
    assert (np.abs(back - weights) <= scale * (0.5 + 1e-4)).all()


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [(0.0, np.inf, "'x', which 'y' reads, is 0.0 to inf"), (np.nan, 1.0, "is nan to 1.0")],
)
def test_a_range_that_is_not_finite_names_value_and_node(low: float, high: float, message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        quantize_for_tensorrt(graph_of(node("Conv", "x w", "y")), {"x": (low, high)})


def test_what_is_missing_is_named() -> None:
    model = graph_of(node("Conv", "x w", "y"))
    with pytest.raises(QuantizationError, match="no range for 'x', which 'y' reads"):
        quantize_for_tensorrt(model, {})
    with pytest.raises(UnknownNameError, match="no node named 'why'"):
        quantize_for_tensorrt(model, Everything(), ["why"])


@pytest.mark.parametrize(
    "weights", [KERNEL * np.float32(np.nan), KERNEL.astype(np.float64)], ids=["nan", "float64"]
)
def test_weights_that_are_not_finite_float32_are_named(weights: NDArray[np.float32]) -> None:
    with pytest.raises(QuantizationError, match="weights 'w' of 'y'"):
        quantize_for_tensorrt(graph_of(node("Conv", "x w", "y"), w=weights), Everything())


def test_input_output_and_the_dynamic_batch_stay(export: Export, observe: Observe) -> None:
    model = export("cifar_resnet20")
    batch = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    result = quantize_for_tensorrt(model, observe(model, batch))
    assert graph_input(result) == graph_input(model)
    assert graph_output(result) == graph_output(model)
    assert scores(result, batch[:3]).shape == (3, 10)
    kept = quantize_for_tensorrt(model, {}, [entry.name for entry in model.graph.node])
    assert np.array_equal(scores(kept, batch), scores(model, batch))


def scores(model: onnx.ModelProto, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Through ONNX Runtime, whose integer kernels are exact here: S8 with S8."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings)
    answer: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: batch})[0]
    return answer


@pytest.mark.realdata
def test_trained_weights_answer_as_before(real_data: Path, tmp_path: Path, observe: Observe) -> None:
    """ResNet-20 on CIFAR-10, calibrated by minimum and maximum on images that are not counted."""
    weights = real_data / "weights_cifar10" / "resnet20.pth"
    card = find_card("cifar_resnet20")
    network = load_network(card, str(weights), classes=card.classes)
    artifact = export_network(network, ExportSettings(), tmp_path / "model.onnx")
    source = open_source(str(real_data / "cifar10" / "cifar10_subset.npz"))
    images = np.stack([prepare(source.image(index), artifact.spec) for index in range(628)])
    model = onnx.load(artifact.path)
    result = quantize_for_tensorrt(model, observe(model, images[:128]))
    before, after = (scores(one, images[128:]).argmax(axis=1) for one in (model, result))
    assert (before == after).mean() >= 0.97

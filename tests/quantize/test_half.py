"""float16: what stays as it was, what stays in float32, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn.artifact import graph_input, graph_output, open_artifact, read_onnx
from edgecnn.cards import find_card
from edgecnn.errors import QuantizationError, UnknownNameError
from edgecnn.export.network import export_network
from edgecnn.export.settings import ExportSettings
from edgecnn.graph.half import to_half
from edgecnn.weights import load_network
from tests.quantize.running import answers, built_for_rtx

Export = Callable[[str], onnx.ModelProto]
GraphOf = Callable[..., onnx.ModelProto]

RNG = np.random.default_rng(0)
CONSTANTS = {
    "w1": RNG.normal(size=(4, 3, 1, 1)).astype(np.float32),
    "w2": RNG.normal(size=(4, 4, 1, 1)).astype(np.float32),
    "zero": np.array(0, np.float32),
    "most": np.array(3.4e38, np.float32),
    "huge": np.array(1e5, np.float32),
}
CHAIN = "a = Conv(x, w1) b = Clip(a, zero, most) c = Conv(b, w2) y = Clip(c, zero, most)"


def images(size: int = 8, batch: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(batch, 3, size, size)).astype(np.float32)


def dtypes(model: onnx.ModelProto) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def casts(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "Cast" for node in model.graph.node)


def test_what_it_keeps(export: Export) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(export("cifar_resnet20"))
    model.metadata_props.add(key="some", value="metadata")
    before = model.SerializeToString()
    half = to_half(model)
    assert model.SerializeToString() == before
    assert (graph_input(half), graph_output(half)) == (graph_input(model), graph_output(model))
    assert graph_input(half).shape[0] == "batch"
    assert list(half.metadata_props) == list(model.metadata_props)
    assert list(half.opset_import) == list(model.opset_import)
    names = {node.name for node in model.graph.node if node.op_type != "Constant"}
    assert names <= {node.name for node in half.graph.node}
    assert TensorProto.FLOAT not in dtypes(half).values()
    assert len(half.SerializeToString()) < 0.55 * len(before)
    expected = answers(model, images(32))
    # float16 has 11 bits; ONNX Runtime's CPU computes in float32 here, on rounded weights
    assert np.abs(answers(half, images(32)) - expected).max() < 1e-2 * np.abs(expected).max()


def test_kept_nodes_pass_values_on_in_float32(graph_of: GraphOf) -> None:
    model = graph_of(CHAIN, CONSTANTS)
    everything = to_half(model, ["a", "b", "c", "y"])
    assert casts(everything) == 0
    np.testing.assert_array_equal(answers(everything, images()), answers(model, images()))
    part = to_half(model, ["b", "c"])
    assert casts(part) == 4, "one at either end, one on either side of the kept pair"
    assert dtypes(part)["w2"] == TensorProto.FLOAT
    assert dtypes(part)["w1"] == TensorProto.FLOAT16


def test_a_constant_that_kept_and_other_nodes_share(graph_of: GraphOf) -> None:
    half = to_half(graph_of(CHAIN, CONSTANTS), ["b"])
    stored = dtypes(half)
    assert stored["zero"] == TensorProto.FLOAT16
    assert stored["zero/b"] == TensorProto.FLOAT


@pytest.mark.parametrize("kept", [["b"], ["y"], ["b", "c"], ["a", "c"], ["c", "y"]])
def test_every_choice_of_kept_nodes_answers_alike(kept: list[str], graph_of: GraphOf) -> None:
    model = graph_of(CHAIN, CONSTANTS)
    half = to_half(model, kept)
    assert graph_output(half) == graph_output(model)
    expected = answers(model, images())
    np.testing.assert_allclose(answers(half, images()), expected, atol=2e-2)  # 11 bits of numbers up to 10


def test_an_output_that_a_node_reads_as_well(graph_of: GraphOf) -> None:
    model = graph_of("a = Conv(x, w1) y = Relu(a) z = Conv(y, w2)", CONSTANTS)
    z = onnx.ValueInfoProto()
    z.CopyFrom(model.graph.output[0])
    z.name = "z"
    model.graph.output.append(z)
    half = to_half(model, ["y"])
    assert [value.type for value in half.graph.output] == [value.type for value in model.graph.output]
    np.testing.assert_allclose(answers(half, images()), answers(model, images()), atol=2e-2)


def test_a_constant_beyond_float16(graph_of: GraphOf) -> None:
    model = graph_of("a = Mul(x, huge) y = Relu(a)", CONSTANTS)
    with pytest.raises(QuantizationError, match=r"'huge', which 'a' \(Mul\) reads, holds 100000") as caught:
        to_half(model)
    assert "--keep-float a" in caught.value.remedy
    kept = to_half(model, ["a"])
    assert np.isinf(answers(kept, images()[:1] + 10)).any(), "what is kept may still be too large for others"
    np.testing.assert_array_equal(answers(to_half(model, ["a", "y"]), images()), answers(model, images()))


def test_weights_too_small_for_float16_keep_their_sign(graph_of: GraphOf) -> None:
    tiny = np.array([1e-20, -1e-20, 0], np.float32).reshape(1, 3, 1, 1)
    half = to_half(graph_of("y = Conv(x, w)", {"w": tiny}))
    stored = numpy_helper.to_array(half.graph.initializer[0])
    np.testing.assert_array_equal(stored.ravel(), np.array([2**-24, -(2**-24), 0], np.float16))


def test_nodes_without_names_and_constants_as_nodes(graph_of: GraphOf) -> None:
    model = graph_of("c = Constant<value_float=2.0>() a = Mul(x, c) b = Relu(x) y = Add(a, b)", {})
    for node in model.graph.node:
        node.name = ""
    half = to_half(model)
    names = [node.name for node in half.graph.node]
    assert "" not in names
    assert len(set(names)) == len(names)
    np.testing.assert_allclose(answers(half, images()), answers(model, images()), atol=1e-2)


def test_weights_among_the_inputs_as_old_files_have_them(graph_of: GraphOf) -> None:
    model = graph_of("y = Conv(x, w1)", CONSTANTS, opset=11)
    model.graph.input.append(helper.make_tensor_value_info("w1", TensorProto.FLOAT, [4, 3, 1, 1]))
    half = to_half(model)
    assert [value.name for value in half.graph.input] == ["x"]
    np.testing.assert_allclose(answers(half, images()), answers(model, images()), atol=1e-2)


def test_what_it_refuses(graph_of: GraphOf) -> None:
    model = graph_of(CHAIN, CONSTANTS)
    with pytest.raises(UnknownNameError, match="no node named 'nowhere'"):
        to_half(model, ["nowhere"])
    with pytest.raises(QuantizationError, match="float16 already"):
        to_half(to_half(model))


@pytest.mark.tensorrt
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_tensorrt_builds_it(export: Export, tmp_path: Path) -> None:
    build = built_for_rtx(to_half(export("cifar_resnet20"), ["conv1/Conv"]), tmp_path)
    assert build["complaints"] == []
    assert build["plan_bytes"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 17, 21])
@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x1_0", "mobilenet_v3_small"])
def test_exports_of_every_opset(name: str, opset: int, tmp_path: Path) -> None:
    """With pixels in, so that the graph holds a Cast of its own."""
    torch.set_num_threads(1)
    card = find_card(name)
    exporter = "torchscript" if opset < 18 else "dynamo"
    settings = ExportSettings(size=card.smallest, opset=opset, exporter=exporter, input="uint8")  # type: ignore[arg-type]
    export_network(load_network(card, "random", seed=1), settings, tmp_path / "model.onnx")
    model = read_onnx(tmp_path / "model.onnx")
    half = to_half(model)
    onnx.save(half, tmp_path / "half.onnx")
    assert open_artifact(tmp_path / "half.onnx").spec == open_artifact(tmp_path / "model.onnx").spec
    height, width = card.smallest
    pixels = np.random.default_rng(0).integers(0, 255, (2, height, width, 3), dtype=np.uint8)
    expected = answers(model, pixels)
    assert np.abs(answers(half, pixels) - expected).max() < 1e-2 * np.abs(expected).max()


def test_infinity_fits(graph_of: GraphOf) -> None:
    """As what a maximum pads with; float16 has it."""
    constants = {"around": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "low": np.array(-np.inf, np.float32)}
    model = graph_of("p = Pad(x, around, low) y = MaxPool<kernel_shape=[3, 3]>(p)", constants)
    batch = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
    answers = []
    for each in (model, to_half(model)):
        session = onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"])
        answers.append(session.run(None, {"x": batch})[0])
    np.testing.assert_allclose(answers[1], answers[0], rtol=2**-11)  # float16 rounds the input

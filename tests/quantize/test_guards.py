"""What is refused before quantising, with which words, and what is only warned of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from edgecnn.artifact import graph_input, graph_output, read_onnx
from edgecnn.cards import find_card
from edgecnn.data.arrays import ArrayImages
from edgecnn.errors import DataError, EdgecnnError, QuantizationError, UnknownNameError
from edgecnn.export.network import export_network
from edgecnn.export.settings import ExportSettings
from edgecnn.graph.half import to_half
from edgecnn.graph.index import opset_version
from edgecnn.graph.reading import require_nodes
from edgecnn.quantize.dynamic import quantize_dynamically
from edgecnn.quantize.guards import (
    at_least_opset,
    at_most_opset,
    check_calibration,
    require_disjoint,
    require_fitting_batch,
    require_float,
    require_quantisable,
)
from edgecnn.quantize.weights_only import quantize_weights
from edgecnn.spec import ModelSpec, Preprocess, WeightsId
from edgecnn.weights import load_network
from tests.quantize.running import answers

GraphOf = Callable[..., onnx.ModelProto]

PATH = Path("model.onnx")
WEIGHTS = {
    "w": np.ones((8, 192), np.float32),
    "k": np.ones((4, 3, 1, 1), np.float32),
    "scale": np.array(0.1, np.float32),
    "zero": np.array(0, np.int8),
}
CLASSIFIER = "f = Flatten(x) y = Gemm<transB=1>(f, w)"


@pytest.fixture
def model(graph_of: GraphOf) -> onnx.ModelProto:
    return graph_of(CLASSIFIER, WEIGHTS)


def images(keys: Sequence[int], labels: Sequence[int] | None = None, name: str = "some") -> ArrayImages:
    """The same key is the same image."""
    pixels = np.zeros((len(keys), 2, 2, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.array(keys, np.int64) % 256
    pixels[:, 0, 0, 1] = np.array(keys, np.int64) // 256
    chosen = np.arange(len(keys)) % 2 if labels is None else np.array(labels)
    return ArrayImages(name, None, ("cat", "dog"), chosen.astype(np.int64), pixels)


def test_a_float_model_passes(model: onnx.ModelProto) -> None:
    require_float(model, PATH)
    require_quantisable(model)
    require_nodes(model, ["f", "y"])


def test_quantised_models_are_refused_with_what_was_found(model: onnx.ModelProto, graph_of: GraphOf) -> None:
    pair = "q = QuantizeLinear(x, scale, zero) d = DequantizeLinear(q, scale, zero) y = Relu(d)"
    with pytest.raises(QuantizationError, match="the first is node 'q'") as caught:
        require_float(graph_of(pair, WEIGHTS), PATH)
    assert "holds 1 QuantizeLinear, 1 DequantizeLinear" in caught.value.problem
    assert "float32 model" in caught.value.remedy
    with pytest.raises(QuantizationError, match=r"model\.onnx is already quantised: .*MatMulInteger"):
        require_float(quantize_dynamically(model), PATH)
    with pytest.raises(QuantizationError, match="1 of its weights are stored as integers"):
        require_float(quantize_weights(model), PATH)


def _spec(model: onnx.ModelProto) -> ModelSpec:
    return ModelSpec(
        network="small",
        classes=("cat", "dog"),
        input=graph_input(model),
        output=graph_output(model),
        preprocess=Preprocess(resize=None, crop=(8, 8)),
        weights=WeightsId(kind="unknown", name="none"),
    )


@pytest.mark.parametrize("size", [1, 4])
def test_a_fixed_batch_under_a_spec_of_any_is_refused(model: onnx.ModelProto, size: int) -> None:
    dynamic = _spec(model)
    require_fitting_batch(model, dynamic, PATH)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size
    words = rf"model\.onnx: its input 'x' is fixed to a batch of {size}, and its spec says any number"
    with pytest.raises(QuantizationError, match=words) as caught:
        require_fitting_batch(model, dynamic, PATH)
    assert "--batch dynamic" in caught.value.remedy
    assert f"say {size}" in caught.value.remedy
    require_fitting_batch(model, _spec(model), PATH)


@pytest.mark.parametrize("unknown", [0, -1])
def test_some_exporters_write_a_number_for_any_batch(model: onnx.ModelProto, unknown: int) -> None:
    dynamic = _spec(model)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = unknown
    require_fitting_batch(model, dynamic, PATH)


@pytest.mark.parametrize("kind", ["QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulNBits"])
def test_each_kind_of_quantised_operator(kind: str, model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = kind
    with pytest.raises(QuantizationError, match=f"1 {kind}; the first is node 'y'"):
        require_float(model, PATH)


def test_half_precision_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(QuantizationError, match="3 of its constants are in float16, such as 'w'"):
        require_float(to_half(model), PATH)
    model.graph.initializer[0].data_type = TensorProto.BFLOAT16
    with pytest.raises(QuantizationError, match="bfloat16"):
        require_float(model, PATH)


def test_graphs_without_anything_to_quantise(graph_of: GraphOf) -> None:
    with pytest.raises(QuantizationError, match="nothing to quantise"):
        require_quantisable(graph_of("y = Relu(x)", {}))
    with pytest.raises(QuantizationError, match="nothing to quantise"):
        require_quantisable(graph_of("y = MatMul(x, x)", {}))


def test_operators_that_cannot_be_calibrated_are_named(model: onnx.ModelProto) -> None:
    foreign = onnx.ModelProto()
    foreign.CopyFrom(model)
    foreign.graph.node[1].domain = "com.microsoft"
    foreign.graph.node[1].op_type = "FusedGemm"
    with pytest.raises(QuantizationError, match=r"node 'y' is com\.microsoft\.FusedGemm"):
        require_quantisable(foreign)
    model.graph.node.append(helper.make_node("Loop", ["", "", "y"], ["looped"]))
    with pytest.raises(QuantizationError, match=r"node that makes 'looped' is control flow \(Loop\)"):
        require_quantisable(model)


def test_names_of_no_node(model: onnx.ModelProto) -> None:
    with pytest.raises(UnknownNameError, match="no node named 'z'"):
        require_nodes(model, ["f", "z"])


def test_opsets_that_fit_are_left_alone(model: onnx.ModelProto) -> None:
    assert at_most_opset(model, 18) is model
    assert at_least_opset(model, 18) is model


@pytest.mark.parametrize(("opset", "wanted"), [(21, 20), (23, 20), (11, 13)])
def test_converting_the_opset_keeps_what_users_know(opset: int, wanted: int, graph_of: GraphOf) -> None:
    model = graph_of("a = Conv(x, k) b = Relu(a) y = GlobalAveragePool(b)", WEIGHTS, opset=opset)
    model.ir_version = 10
    model.metadata_props.add(key="some", value="metadata")
    before = model.SerializeToString()
    converted = (at_most_opset if wanted < opset else at_least_opset)(model, wanted)
    assert model.SerializeToString() == before
    assert opset_version(converted) == wanted
    assert [node.name for node in converted.graph.node] == ["a", "b", "y"]
    assert list(converted.metadata_props) == list(model.metadata_props)
    assert (graph_input(converted), graph_output(converted)) == (graph_input(model), graph_output(model))


def test_an_opset_that_cannot_be_converted(graph_of: GraphOf) -> None:
    model = graph_of("y = HardSwish(x)", {})
    with pytest.raises(QuantizationError, match="opset 18, opset 13 is needed") as caught:
        at_most_opset(model, 13)
    assert "HardSwish" in caught.value.problem
    assert "edgecnn export NET --opset 18" in caught.value.remedy


def test_too_few_images_to_calibrate() -> None:
    for keys, said in (([], "no images"), ([1], "one image")):
        source = images(keys)
        with pytest.raises(DataError, match=f"some holds {said}") as caught:
            check_calibration(source, source.labels)
        assert "--calib" in caught.value.remedy


def test_doubtful_images_to_calibrate() -> None:
    many = images(range(32))
    assert check_calibration(many, many.labels) == ()
    few = images(range(31))
    assert [text[:31] for text in check_calibration(few, few.labels)] == [
        "some holds 31 calibration images"[:31]
    ]
    alike = images(range(40), [1] * 40)
    (warning,) = check_calibration(alike, alike.labels)
    assert "of one class (dog)" in warning
    both = images(range(3), [0] * 3)
    assert len(check_calibration(both, both.labels)) == 2


def test_calibrating_on_what_is_evaluated() -> None:
    calibration = images(range(50), name="calib")
    assert require_disjoint(calibration, images(range(100, 200))) == ()
    for evaluation in (calibration, images(range(20), name="calib")):
        with pytest.raises(DataError, match="all of its images are among those of calib"):
            require_disjoint(calibration, evaluation)
    with pytest.raises(DataError, match="no images to evaluate on"):
        require_disjoint(calibration, images([]))


def test_a_few_shared_images_are_a_warning_and_more_an_error() -> None:
    calibration = images(range(50), name="calib")
    (warning,) = require_disjoint(calibration, images([500, 7, *range(100, 198)], name="eval"))
    assert "1 of the 100 evaluation images of eval" in warning
    assert "[1]" in warning, "the key of the shared image"
    with pytest.raises(DataError, match=r"2 of the 100 evaluation images .* the first of them .*\[0\]"):
        require_disjoint(calibration, images([7, 8, *range(100, 198)], name="eval"))


def test_every_refusal_says_what_to_do(model: onnx.ModelProto) -> None:
    with pytest.raises(EdgecnnError) as caught:
        require_float(to_half(model), PATH)
    assert caught.value.exit_code == 1
    assert caught.value.remedy


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x1_0"])
@pytest.mark.parametrize("opset", [21, 23])
def test_newest_exports_come_down_and_answer_the_same(name: str, opset: int, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    card = find_card(name)
    settings = ExportSettings(size=card.smallest, opset=opset)
    export_network(load_network(card, "random", seed=1), settings, tmp_path / "model.onnx")
    model = read_onnx(tmp_path / "model.onnx")
    converted = at_most_opset(model, 20)
    assert [node.name for node in converted.graph.node] == [node.name for node in model.graph.node]
    assert list(converted.metadata_props) == list(model.metadata_props)
    batch = np.random.default_rng(0).normal(size=(2, 3, *card.smallest)).astype(np.float32)
    np.testing.assert_array_equal(answers(converted, batch), answers(model, batch))

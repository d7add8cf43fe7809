from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.cards import find_card
from edgecnn.errors import ArtifactError, UnknownNameError
from edgecnn.foreign import adopt
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId, encode_spec

SAID: dict[str, Any] = {"preprocess": {"resize": 8, "crop": [6, 4]}, "classes": ["a", "b", "c"]}


def _model(
    path: Path,
    shape: list[int | str],
    *,
    dtype: int = TensorProto.FLOAT,
    output: list[int | str] | None = None,
    softmax: bool = False,
) -> Path:
    """A model of one convolution to three scores per image."""
    channels = 3
    weights = numpy_helper.from_array(np.zeros((3, channels, 1, 1), np.float32), "w")
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["f", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Softmax" if softmax else "Identity", ["p"], ["s"]),
        helper.make_node("Flatten", ["s"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output or ["n", 3])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def said(tmp_path: Path) -> Path:
    path = tmp_path / "said.json"
    path.write_text(json.dumps(SAID))
    return path


def _say(path: Path, **changes: Any) -> str:
    path.write_text(json.dumps(SAID | changes))
    return str(path)


def test_a_card_lends_its_preprocessing_and_classes(tmp_path: Path) -> None:
    path = _model(tmp_path / "mine.onnx", ["n", 3, 224, 224], output=["n", 1000])
    artifact = adopt(path, "mobilenet_v2")
    card = find_card("mobilenet_v2")
    assert artifact.path == path
    assert (artifact.spec.preprocess, artifact.spec.classes) == (card.preprocess, card.classes)
    assert artifact.spec.input == TensorSpec(name="x", dtype="float32", shape=("n", 3, 224, 224))
    assert artifact.spec.output == TensorSpec(name="y", dtype="float32", shape=("n", 1000))
    assert (artifact.spec.network, artifact.spec.weights.kind) == ("mine", "unknown")
    assert artifact.spec.scores == "logits"


def test_a_file_says_preprocessing_and_classes(tmp_path: Path, said: Path) -> None:
    spec = adopt(_model(tmp_path / "m.onnx", [1, 3, 6, 4], softmax=True), str(said)).spec
    assert spec.preprocess == Preprocess(resize=8, crop=(6, 4))
    assert (spec.classes, spec.scores, spec.input.shape) == (("a", "b", "c"), "probabilities", (1, 3, 6, 4))


def test_a_file_may_name_a_label_set_and_what_the_scores_are(tmp_path: Path) -> None:
    path = _model(tmp_path / "m.onnx", ["n", 3, 6, 4], output=["n", 10])
    document = {
        "preprocess": SAID["preprocess"],
        "labels": "cifar10",
        "scores": "probabilities",
        "network": "x",
    }
    (tmp_path / "s.json").write_text(json.dumps(document))
    spec = adopt(path, str(tmp_path / "s.json")).spec
    assert (spec.classes[0], len(spec.classes), spec.scores, spec.network) == (
        "airplane",
        10,
        "probabilities",
        "x",
    )


def test_a_whole_spec_keeps_its_origin_and_takes_the_names_of_the_graph(tmp_path: Path) -> None:
    whole = ModelSpec(
        network="lenet5",
        classes=("a", "b", "c"),
        input=TensorSpec(name="other", dtype="float32", shape=("n", 3, 6, 4)),
        output=TensorSpec(name="other", dtype="float32", shape=("n", 3)),
        preprocess=Preprocess(resize=8, crop=(6, 4)),
        weights=WeightsId(kind="random", name="seed=1"),
        precision="int8",
    )
    (tmp_path / "whole.json").write_text(encode_spec(whole))
    spec = adopt(_model(tmp_path / "m.onnx", ["n", 3, 6, 4]), str(tmp_path / "whole.json")).spec
    assert (spec.network, spec.weights, spec.input.name) == ("lenet5", whole.weights, "x")
    assert spec.precision == "fp32"


@pytest.mark.parametrize("shape", [["n", 3, "h", "w"], ["n", "c", "h", "w"], [0, 3, -1, -1]])
def test_a_dynamic_size_is_the_crop(tmp_path: Path, said: Path, shape: list[int | str]) -> None:
    spec = adopt(_model(tmp_path / "m.onnx", shape), str(said)).spec
    assert spec.input.shape[1:] == (3, 6, 4)
    assert spec.input.dynamic_batch


def test_float16_input_stays_float16(tmp_path: Path, said: Path) -> None:
    spec = adopt(_model(tmp_path / "m.onnx", [2, 3, 6, 4], dtype=TensorProto.FLOAT16), str(said)).spec
    assert spec.input == TensorSpec(name="x", dtype="float16", shape=(2, 3, 6, 4))


def test_uint8_input_takes_pixels_as_they_are(tmp_path: Path, said: Path) -> None:
    last = adopt(_model(tmp_path / "a.onnx", ["n", 6, 4, 3], dtype=TensorProto.UINT8), str(said)).spec
    assert last.preprocess == Preprocess(resize=8, crop=(6, 4), in_graph=True)
    assert last.input.shape == ("n", 6, 4, 3)
    first = adopt(_model(tmp_path / "b.onnx", ["n", 3, 6, 4], dtype=TensorProto.UINT8), str(said)).spec
    assert first.preprocess == Preprocess(resize=8, crop=(6, 4), divisor=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.mark.parametrize("shape", [["n", 3, 224, 224], ["n", 1, 6, 4], [1, 3, 4, 6]])
def test_another_size_than_the_crop_is_refused_with_both(
    tmp_path: Path, said: Path, shape: list[int | str]
) -> None:
    with pytest.raises(
        ArtifactError, match=r"'x' float32\[.*\] is not what .* a crop of 6 x 4 with 3 channels"
    ):
        adopt(_model(tmp_path / "m.onnx", shape), str(said))


def test_another_number_of_classes_is_refused_with_both(tmp_path: Path, said: Path) -> None:
    path = _model(tmp_path / "m.onnx", [1, 3, 6, 4], output=[1, 1001, 1, 1])
    with pytest.raises(ArtifactError, match="holds 1001 scores an image, and the spec names 3 classes"):
        adopt(path, str(said))


@pytest.mark.parametrize(
    ("shape", "dtype", "problem"),
    [
        (["n", 6, 4, 3], TensorProto.FLOAT, "floating point with the channels last"),
        (["n", 72], TensorProto.FLOAT, "not a batch of images"),
        (["n", 3, 6, 4], TensorProto.DOUBLE, "not a batch of images"),
    ],
)
def test_what_takes_no_prepared_image_is_refused(
    tmp_path: Path, said: Path, shape: list[int | str], dtype: int, problem: str
) -> None:
    with pytest.raises(ArtifactError, match=problem):
        adopt(_model(tmp_path / "m.onnx", shape, dtype=dtype), str(said))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"preprocess": {"resize": 8}}, "missing required field `crop`"),
        ({"preprocess": {"resize": 8, "crop": [6, 4], "std": [0, 1, 1]}}, "must not be zero"),
        ({"preprocess": {"resize": 8, "crop": [6, 4], "means": [1, 1, 1]}}, "unknown field 'means'"),
        ({"class": ["a"]}, "unknown field 'class'"),
        ({"schema": "edgecnn.spec/9", "spec": {}}, "edgecnn.spec/9"),
    ],
)
def test_a_wrong_spec_file_is_named_with_what_is_wrong(
    tmp_path: Path, said: Path, changes: dict[str, Any], problem: str
) -> None:
    path = _model(tmp_path / "m.onnx", [1, 3, 6, 4])
    with pytest.raises(ArtifactError, match=f"said.json.*{problem}"):
        adopt(path, _say(said, **changes))


@pytest.mark.parametrize("text", ["not json", "[]"])
def test_what_is_no_spec_file_is_told_the_form(tmp_path: Path, said: Path, text: str) -> None:
    said.write_text(text)
    with pytest.raises(ArtifactError, match=r"not a spec") as caught:
        adopt(_model(tmp_path / "m.onnx", [1, 3, 6, 4]), str(said))
    assert '"preprocess"' in caught.value.remedy


def test_a_missing_spec_file_and_a_misspelt_network_are_told_apart(tmp_path: Path) -> None:
    path = _model(tmp_path / "m.onnx", [1, 3, 6, 4])
    with pytest.raises(ArtifactError, match=r"nowhere\.json: no such spec file"):
        adopt(path, "nowhere.json")
    with pytest.raises(UnknownNameError, match="mobilenet_v2") as caught:
        adopt(path, "mobilnet_v2")
    assert caught.value.nearest[0] == "mobilenet_v2"


def test_a_missing_model_is_named(said: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no\.onnx"):
        adopt(Path("no.onnx"), str(said))


@pytest.mark.realdata
def test_real_foreign_models_are_understood(real_data: Path, tmp_path: Path) -> None:
    quantised = adopt(real_data / "onnx" / "mobilenetv2-12-int8.onnx", "mobilenet_v2").spec
    assert (quantised.precision, quantised.scores, quantised.input.dynamic_batch) == ("int8", "logits", True)
    document = {
        "preprocess": {
            "resize": 256,
            "crop": [224, 224],
            "color": "BGR",
            "divisor": 1,
            "mean": [104, 117, 123],
            "std": [1, 1, 1],
        }
    }
    (tmp_path / "caffe.json").write_text(json.dumps(document))
    half = adopt(real_data / "onnx" / "SqueezeNet_fp16.onnx", str(tmp_path / "caffe.json")).spec
    assert (half.precision, half.scores) == ("fp16", "probabilities")
    assert half.input == TensorSpec(name="data_0", dtype="float16", shape=(1, 3, 224, 224))

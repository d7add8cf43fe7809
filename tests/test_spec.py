"""The spec's codec and the checks of its values."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.errors import ArtifactError
from edgecnn.spec import (
    Color,
    Interpolation,
    ModelSpec,
    Parity,
    Preprocess,
    Provenance,
    Quantization,
    QuantizationAccuracy,
    QuantizationSpeed,
    TensorSpec,
    WeightsId,
    decode_spec,
    encode_spec,
)

sides = st.integers(1, 4096)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
positive = st.floats(2**-10, 2**10, width=32)


@st.composite
def preprocesses(draw: st.DrawFn) -> Preprocess:
    color: Color = draw(st.sampled_from(get_args(Color)))
    channels = 1 if color == "L" else 3
    return Preprocess(
        resize=draw(st.none() | sides | st.tuples(sides, sides)),
        crop=draw(st.tuples(sides, sides)),
        interpolation=draw(st.sampled_from(get_args(Interpolation))),
        antialias=draw(st.booleans()),
        color=color,
        divisor=draw(positive),
        mean=tuple(draw(st.lists(finite, min_size=channels, max_size=channels))),
        std=tuple(draw(st.lists(positive, min_size=channels, max_size=channels))),
        in_graph=draw(st.booleans()),
    )


shapes = st.lists(sides | st.text(min_size=1), min_size=1, max_size=4).map(tuple)
tensors = st.builds(TensorSpec, name=st.text(), dtype=st.sampled_from(["float32", "uint8"]), shape=shapes)
parities = st.builds(
    Parity,
    images=sides,
    max_abs=finite,
    max_rel=finite,
    sqnr_db=st.none() | finite,
    top1_agreement=st.floats(0, 100),
)
provenances = st.builds(
    Provenance,
    exporter=st.text(),
    opset=st.none() | st.integers(1, 30),
    versions=st.dictionaries(st.text(), st.text()),
    parity=st.none() | parities,
)
weights = st.builds(
    WeightsId,
    kind=st.sampled_from(["pretrained", "file", "random", "unknown"]),
    name=st.text(),
    sha256=st.none() | st.text(),
)
percents = st.floats(0, 100)
accuracies = st.builds(
    QuantizationAccuracy,
    data=st.text(),
    fingerprint=st.text(),
    n=sides,
    reference_top1=percents,
    top1=percents,
    drop=finite,
    drop_ci95=st.tuples(finite, finite),
    agreement=percents,
)
speeds = st.builds(
    QuantizationSpeed,
    engine=st.text(),
    cpu=st.text(),
    reference_ms=positive,
    ms=positive,
    ratio=positive,
    ratio_spread=st.tuples(positive, positive),
    ratio_ci95=st.none() | st.tuples(positive, positive),
)
quantizations = st.builds(
    Quantization,
    recipe=st.text(),
    target=st.text(),
    scheme=st.text(),
    source_sha256=st.text(),
    calibration=st.none() | st.text(),
    calibration_images=st.none() | sides,
    calibration_sha256=st.none() | st.text(),
    calibration_convergence=st.none() | percents,
    steps=st.lists(st.text()).map(tuple),
    kept_float=st.lists(st.text()).map(tuple),
    int8_mac_share=st.none() | percents,
    accuracy=st.none() | accuracies,
    speed=st.none() | speeds,
)
specs = st.builds(
    ModelSpec,
    network=st.text(),
    classes=st.lists(st.text()).map(tuple),
    input=tensors,
    output=tensors,
    preprocess=preprocesses(),
    weights=weights,
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
    scores=st.sampled_from(["logits", "probabilities"]),
    provenance=provenances,
    quantization=st.none() | quantizations,
)


@given(specs)
def test_what_is_encoded_is_decoded(spec: ModelSpec) -> None:
    assert decode_spec(encode_spec(spec), origin="test") == spec


@given(st.text() | st.binary())
def test_any_other_text_is_refused_with_its_origin(text: str | bytes) -> None:
    with pytest.raises(ArtifactError, match=r"file\.onnx"):
        decode_spec(text, origin="file.onnx")


def test_a_spec_from_before_quantisation_has_none(spec: ModelSpec) -> None:
    text = encode_spec(spec).replace(',"quantization":null', "")
    assert "quantization" not in text
    assert decode_spec(text, origin="m.onnx").quantization is None


def test_a_wrong_field_of_the_quantisation_is_named(spec: ModelSpec) -> None:
    how = Quantization(recipe="auto", target="ort", scheme="uint8 x int8", source_sha256="ab")
    text = encode_spec(replace(spec, quantization=how)).replace('"target":"ort"', '"target":3')
    with pytest.raises(ArtifactError, match=r"\$\.quantization\.target"):
        decode_spec(text, origin="m.onnx")


def test_another_version_is_refused_naming_both(spec: ModelSpec) -> None:
    text = encode_spec(spec).replace("edgecnn.spec/1", "edgecnn.spec/9")
    with pytest.raises(ArtifactError, match=r"'edgecnn\.spec/9'.*'edgecnn\.spec/1'"):
        decode_spec(text, origin="m.onnx")


def test_a_wrong_field_is_named(spec: ModelSpec) -> None:
    text = encode_spec(spec).replace('"crop":[224,224]', '"crop":"wide"')
    with pytest.raises(ArtifactError, match=r"\$\.preprocess\.crop"):
        decode_spec(text, origin="m.onnx")


def test_dynamic_batch(spec: ModelSpec) -> None:
    assert spec.input.dynamic_batch
    assert not replace(spec.input, shape=(1, 3, 224, 224)).dynamic_batch


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": (0.5,)},
        {"color": "L"},
        {"std": (0.0, 1.0, 1.0)},
        {"divisor": 0.0},
        {"crop": (0, 224)},
        {"resize": 0},
        {"resize": (10, 0)},
    ],
)
def test_impossible_preprocessing_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"need|must"):
        Preprocess(**{"resize": 256, "crop": (224, 224), **changes})  # type: ignore[arg-type]


@pytest.fixture
def spec() -> ModelSpec:
    tensor = TensorSpec(name="x", dtype="float32", shape=("batch", 3, 224, 224))
    return ModelSpec(
        network="mobilenet_v2",
        classes=("cat", "dog"),
        input=tensor,
        output=TensorSpec(name="y", dtype="float32", shape=("batch", 2)),
        preprocess=Preprocess(resize=256, crop=(224, 224)),
        weights=WeightsId(kind="random", name="seed=0"),
    )

"""Warnings of artifacts that were quantised for another engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgecnn.engines import ENGINES
from edgecnn.engines.suitability import unsuitable
from edgecnn.spec import ModelSpec, Preprocess, Quantization, TensorSpec, WeightsId

SPEC = ModelSpec(
    network="tiny",
    classes=("a", "b"),
    input=TensorSpec(name="x", dtype="float32", shape=("n", 3, 1, 1)),
    output=TensorSpec(name="y", dtype="float32", shape=("n", 2)),
    preprocess=Preprocess(resize=None, crop=(1, 1)),
    weights=WeightsId(kind="unknown", name="tiny.onnx"),
)


def quantised(target: str, recipe: str = "auto") -> ModelSpec:
    done = Quantization(recipe=recipe, target=target, scheme="", source_sha256="0")
    return replace(SPEC, precision="int8", quantization=done)


@pytest.mark.parametrize("engine", [*ENGINES, "trt", "my.own:Engine"])
def test_float_models_and_dynamic_int8_suit_every_engine(engine: str) -> None:
    assert unsuitable(SPEC, engine) is None
    assert unsuitable(quantised("ort", "dynamic"), engine) is None


@pytest.mark.parametrize(
    ("target", "engine"), [("ort", "ort"), ("openvino", "openvino"), ("trt", "trt"), ("trt", "ort-trt")]
)
def test_the_engine_that_it_was_made_for_suits(target: str, engine: str) -> None:
    assert unsuitable(quantised(target), engine) is None


@pytest.mark.parametrize(
    ("target", "engine", "remedy"),
    [
        ("trt", "ort", "slower in ort than a file made for it: edgecnn quantize --target ort"),
        ("trt", "openvino", "slower in openvino than a file made for it: edgecnn quantize --target openvino"),
        ("ort", "trt", "slower in trt than a file made for it: edgecnn quantize --target trt"),
        ("ort", "ort-cuda", "slower in ort-cuda than in float; ort-cuda has no int8 recipe"),
    ],
)
def test_another_engine_is_named_with_what_to_do(target: str, engine: str, remedy: str) -> None:
    reason = unsuitable(quantised(target), engine)
    assert reason is not None
    assert reason.startswith(f"tiny was quantised for {target}, and may be slower in {engine} than ")
    assert remedy in reason


def test_nothing_is_said_of_engines_that_are_not_known() -> None:
    assert unsuitable(quantised("ort"), "my.own:Engine") is None

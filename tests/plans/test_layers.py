"""Precisions of layers, as the inspector and the builder's log write them."""

from __future__ import annotations

import json

import pytest

from edgecnn.plans.layers import layers_of_inspector, layers_of_log, shortfall
from edgecnn.plans.spec import PlanPrecision

#: Of TensorRT for RTX 1.7.1, shortened.
LOG = "\n".join(
    (
        "Name: __mye1_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], Metadata:",
        "Name: __myl_Cast, LayerType: kgen, Inputs: [ { Name: input, Dimensions: [-1,3,32,32], "
        "StrideOrder: [3,2,1,0], Datatype: Float, Format: (Linear) Row major linear format }], "
        "Constants: [], Outputs: [ { Name: a, Datatype: Int8 }], Metadata: [ONNX Layer: a]",
        "Name: a/Conv, LayerType: correlation, Inputs: [ { Name: a, Dimensions: [-1,4,32,32], "
        "Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ { Name: w, Datatype: Int8 }], "
        "Outputs: [ { Name: b, Datatype: Float }]",
        "Name: b/Conv, LayerType: correlation, Inputs: [ { Name: a, Datatype: Half }], Outputs: []",
    )
)


def test_the_builders_log() -> None:
    assert layers_of_log(LOG) == {"fp32": 1, "int8": 1, "fp16": 1}
    assert layers_of_log("") == {}


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        ("Row major linear FP32", "fp32"),
        ("Float", "fp32"),
        ("Half", "fp16"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("BFloat16", "bf16"),
    ],
)
@pytest.mark.parametrize("key", ["Format/Datatype", "Datatype"])
def test_the_inspectors_words(words: str, precision: str, key: str) -> None:
    listed = [{"LayerType": "CaskConvolution", "Inputs": [{"Name": "x", key: words}], "Outputs": []}]
    assert layers_of_inspector(json.dumps({"Layers": listed})) == {precision: 1}


def test_what_the_inspector_does_not_tell() -> None:
    listed = [
        "a/Conv",
        {"LayerType": "kgen", "Inputs": []},
        {"LayerType": "Reformat", "Inputs": [{"Datatype": "Half"}]},
    ]
    assert layers_of_inspector(json.dumps({"Layers": [*listed, {"Inputs": [{"Datatype": "Int64"}]}]})) == {}


@pytest.mark.parametrize(
    ("asked", "network", "plan", "right"),
    [
        ("fp32", {"fp32": 3}, {"fp32": 4}, True),
        ("fp32", {"fp32": 3}, {}, True),
        ("fp32", {"fp32": 3}, {"fp32": 3, "fp16": 1}, False),
        ("fp16", {"fp16": 3}, {"fp16": 3, "fp32": 1}, True),
        ("fp16", {"fp16": 3}, {"fp16": 1, "fp32": 3}, False),
        ("fp16", {"fp32": 3}, {}, False),
        ("int8", {"int8": 3}, {"int8": 3, "fp32": 5}, True),
        ("int8", {"int8": 3}, {"fp32": 5}, False),
        ("int8", {"fp32": 3}, {}, False),
        ("fp16", {}, {}, True),
    ],
)
def test_what_counts_as_asked_for(
    asked: PlanPrecision, network: dict[str, int], plan: dict[str, int], right: bool
) -> None:
    assert (shortfall(asked, network, plan) is None) == right

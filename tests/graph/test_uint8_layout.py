"""Pixels are cast before they are transposed, and nothing else changes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, parser

from edgecnn.graph.uint8_layout import cast_before_transpose


def _model(nodes: str, output: str = "float[b,3,4,5] y") -> onnx.ModelProto:
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (uint8[b,4,5,3] x) => ({output}) {{ {nodes} }}'
    )
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    return onnx.shape_inference.infer_shapes(model)


def _run(model: onnx.ModelProto, pixels: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answers: list[np.ndarray] = session.run(None, {"x": pixels})
    return answers


TURN = "t = Transpose<perm=[0, 3, 1, 2]>(x)"
CASES = {
    "one cast": f"{TURN} c = Cast<to=1>(t) two = Constant<value=float[1] {{2.0}}>() y = Div(c, two)",
    "two casts": f"{TURN} c = Cast<to=1>(t) d = Cast<to=10>(t) e = Cast<to=1>(d) y = Add(c, e)",
    "it is the output": f"{TURN} y = Cast<to=1>(t)",
}


@pytest.mark.parametrize("case", CASES)
def test_results_stay_the_same_to_the_bit(case: str) -> None:
    model = _model(CASES[case])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    before, names = _run(model, pixels), {node.name for node in model.graph.node}
    assert cast_before_transpose(model) == 1
    onnx.checker.check_model(model, full_check=True)
    for was, now in zip(before, _run(model, pixels), strict=True):
        np.testing.assert_array_equal(was, now)
    assert names <= {node.name for node in model.graph.node}
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    types |= {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    read = [types.get(node.input[0]) for node in model.graph.node if node.op_type == "Transpose"]
    assert TensorProto.UINT8 not in read


@pytest.mark.parametrize(
    ("nodes", "output"),
    [
        ("c = Cast<to=1>(x) y = Transpose<perm=[0, 3, 1, 2]>(c)", "float[b,3,4,5] y"),
        (TURN.replace("t =", "y ="), "uint8[b,3,4,5] y"),
        (f"{TURN} c = Cast<to=1>(t) y = Identity(c)", "uint8[b,3,4,5] t, float[b,3,4,5] y"),
    ],
)
def test_what_is_left_alone(nodes: str, output: str) -> None:
    model = _model(nodes, output)
    before = model.SerializeToString()
    assert cast_before_transpose(model) == 0
    assert model.SerializeToString() == before

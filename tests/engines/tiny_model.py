"""Tiny models made node by node, as others might make them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

SPEC = ModelSpec(
    network="tiny",
    classes=("a", "b", "c"),
    input=TensorSpec(name="x", dtype="float32", shape=("n", 3, 1, 1)),
    output=TensorSpec(name="y", dtype="float32", shape=("n", 3, 1, 1)),
    preprocess=Preprocess(resize=None, crop=(1, 1)),
    weights=WeightsId(kind="unknown", name="tiny.onnx"),
)


def model(
    *nodes: onnx.NodeProto,
    dtype: int = TensorProto.FLOAT,
    opset: int = 17,
    ir_version: int = 8,
    **constants: np.ndarray,
) -> onnx.ModelProto:
    """x (n, 3, 1, 1) -> y, through ``nodes``."""
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("x", dtype, ["n", 3, 1, 1])],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("my.own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def node(kind: str, *inputs: str, output: str = "y", domain: str = "") -> onnx.NodeProto:
    """One node; of x alone where nothing else is said."""
    return helper.make_node(kind, inputs or ["x"], [output], domain=domain)

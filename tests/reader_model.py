"""A tiny model whose answers are known: it reads a class off the first pixel."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.spec import ModelSpec, Precision, Preprocess, TensorSpec, WeightsId

CLASSES = tuple(f"class {index}" for index in range(10))


def reader_model(shift: float = 0, batch: int | str = "batch") -> onnx.ModelProto:
    """(N, 4, 4, 3) uint8 to (N, 10): highest is the class that the first pixel states, plus ``shift``."""
    constants: dict[str, np.ndarray] = {
        "start": np.array([0, 0, 0], np.int64),
        "end": np.array([1, 1, 1], np.int64),
        "axes": np.array([1, 2, 3], np.int64),
        "row": np.array([-1, 1], np.int64),
        "classes": np.arange(10, dtype=np.float32)[None] - np.float32(shift),
    }
    nodes = [
        helper.make_node("Slice", ["input", "start", "end", "axes"], ["pixel"]),
        helper.make_node("Cast", ["pixel"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["number", "row"], ["stated"]),
        helper.make_node("Sub", ["classes", "stated"], ["distance"]),
        helper.make_node("Abs", ["distance"], ["size"]),
        helper.make_node("Neg", ["size"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "reader",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, [batch, 4, 4, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 10])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def reader_spec(
    network: str = "reader", batch: int | str = "batch", precision: Precision = "fp32"
) -> ModelSpec:
    """Its spec: pixels go in as they are."""
    return ModelSpec(
        network=network,
        classes=CLASSES,
        input=TensorSpec(name="input", dtype="uint8", shape=(batch, 4, 4, 3)),
        output=TensorSpec(name="scores", dtype="float32", shape=(batch, 10)),
        preprocess=Preprocess(resize=None, crop=(4, 4), in_graph=True),
        weights=WeightsId(kind="unknown", name="none"),
        precision=precision,
    )

"""A classifier that takes no time: what remains of a request is the server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.artifact import Artifact, save_artifact
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

__all__ = ["save_tiny_model"]

_CLASSES, _SIZE = 1000, 224


def save_tiny_model(path: Path, *, size: int = _SIZE, classes: int = _CLASSES, seed: int = 0) -> Artifact:
    """Write a model of global average pooling and one linear layer, which tells images by their mean colour.

    Its input is that of most networks, so that a request is as large as theirs.

    Args:
        path: of the ONNX file.
        size: height and width of its input.
        classes: that it tells.
        seed: of its weights.
    """
    random = np.random.default_rng(seed)
    constants = {
        "weight": random.normal(size=(3, classes)).astype(np.float32),
        "bias": random.normal(size=classes).astype(np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("Gemm", ["means", "weight", "bias"], ["scores"]),
    ]
    shapes = {"input": ("batch", 3, size, size), "scores": ("batch", classes)}
    input_, output = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in shapes.items()
    )
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [input_], [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    spec = ModelSpec(
        network="tiny",
        classes=tuple(f"class {index}" for index in range(classes)),
        input=TensorSpec(name="input", dtype="float32", shape=shapes["input"]),
        output=TensorSpec(name="scores", dtype="float32", shape=shapes["scores"]),
        preprocess=Preprocess(resize=size * 8 // 7, crop=(size, size)),
        weights=WeightsId(kind="random", name=f"seed={seed}"),
    )
    return save_artifact(model, spec, path)

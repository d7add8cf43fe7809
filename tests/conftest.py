"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser

GraphOf = Callable[..., onnx.ModelProto]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real weights and labelled images that EDGECNN_DATA names."""
    folder = os.environ.get("EDGECNN_DATA")
    if not folder:
        pytest.skip("EDGECNN_DATA names no folder of real weights and images")
    path = Path(folder).resolve()
    assert path.is_dir(), f"EDGECNN_DATA={folder} is no folder"
    return path


@pytest.fixture(scope="session")
def graph_of() -> GraphOf:
    """A model from ``x`` to ``y`` of nodes in ONNX's textual form; each is named after its result."""

    def build(
        nodes: str, constants: Mapping[str, NDArray[Any]], image: str = "3,8,8", opset: int = 18
    ) -> onnx.ModelProto:
        graph = parser.parse_graph(f"test (float[batch,{image}] x) => (float[] y) {{ {nodes} }}")
        graph.output[0].type.tensor_type.ClearField("shape")
        for node in graph.node:
            node.name = node.output[0]
        for name, value in constants.items():
            graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        model.graph.output[0].CopyFrom(inferred.graph.output[0])
        onnx.checker.check_model(model)
        return model

    return build

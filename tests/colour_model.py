"""A tiny model that says which colour an image has most of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import ModelProto

from edgecnn.artifact import save_artifact
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId


def write_colour_model(
    path: Path, graph_of: Callable[..., ModelProto], *, network: str = "colours", factor: float = 10.0
) -> Path:
    """Write at ``path`` a model whose scores are ``factor`` times the means of the channels."""
    graph = graph_of("m = GlobalAveragePool(x) f = Flatten(m) y = Mul(f, c)", {"c": np.float32(factor)})
    spec = ModelSpec(
        network=network,
        classes=("red", "green", "blue"),
        input=TensorSpec(name="x", dtype="float32", shape=("batch", 3, 8, 8)),
        output=TensorSpec(name="y", dtype="float32", shape=("batch", 3)),
        preprocess=Preprocess(resize=8, crop=(8, 8)),
        weights=WeightsId(kind="random", name="seed=0"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    return save_artifact(graph, spec, path).path

"""The network as an artifact, with images; speed is as stated, not measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecnn.artifact import graph_input, graph_output, save_artifact
from edgecnn.quantize import measure, mixed_precision
from edgecnn.spec import ModelSpec, WeightsId
from tests.commands.quantize.running import (
    CLASSES,
    NODES,
    PREPROCESS,
    SIDE,
    Case,
    GraphOf,
    sorted_images,
    speed_of,
    weights,
)


@pytest.fixture
def case(graph_of: GraphOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measure, "compare_speed", speed_of(2.0))
    monkeypatch.setattr(mixed_precision, "compare_speed", speed_of(1.0, 0.0))
    monkeypatch.chdir(tmp_path)
    model = graph_of(NODES, weights(), f"3,{SIDE},{SIDE}")
    spec = ModelSpec(
        network="small",
        classes=CLASSES,
        input=graph_input(model),
        output=graph_output(model),
        preprocess=PREPROCESS,
        weights=WeightsId(kind="random", name="seed=3"),
    )
    path = save_artifact(model, spec, tmp_path / "models" / "small.onnx").path
    calib = sorted_images(path, tmp_path / "calib", 40, 1)
    return Case(path, calib, sorted_images(path, tmp_path / "data", 30, 2))

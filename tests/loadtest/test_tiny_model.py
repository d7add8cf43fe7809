"""The model that takes no time tells colours apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecnn.artifact import open_artifact
from edgecnn.engines import open_engine
from edgecnn.loadtest.tiny_model import save_tiny_model


def test_its_scores_are_linear_in_the_mean_colour(tmp_path: Path) -> None:
    artifact = open_artifact(save_tiny_model(tmp_path / "tiny.onnx", size=8, classes=5).path)
    assert artifact.spec.preprocess.crop == (8, 8)
    assert len(artifact.spec.classes) == 5
    images = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    flat = np.broadcast_to(images.mean((2, 3), keepdims=True), images.shape).astype(np.float32)
    with open_engine("ort", artifact) as engine:
        scores = engine.run(images).copy()
        np.testing.assert_allclose(engine.run(flat), scores, rtol=1e-4, atol=1e-5)
    assert scores.shape == (3, 5)
    assert len(np.unique(scores.round(4), axis=0)) == 3

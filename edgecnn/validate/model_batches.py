"""Runs any number of images through a model that may take only its own batch size."""

from __future__ import annotations

import numpy as np

from edgecnn.engines.base import Batch, Engine, Scores

__all__ = ["run_images"]


def run_images(engine: Engine, images: Batch) -> Scores:
    """Scores of ``images``: in one run where the batch is dynamic, else in runs of the model's own batch.

    The last run of a static batch is filled up with copies of the last image, whose scores are dropped.

    Args:
        engine: an open engine.
        images: (N, ...) as ``engine.spec.input`` says but for N, which is at least 1.

    Returns:
        (N, classes) float32.

    Raises:
        EngineError: the images do not fit, or the run failed.
    """
    size = engine.spec.input.shape[0]
    if isinstance(size, str):
        return engine.run(images)
    starts = range(0, len(images), size)
    runs = [engine.run(_filled(images[start : start + size], size)) for start in starts]
    return np.concatenate(runs)[: len(images)]


def _filled(images: Batch, size: int) -> Batch:
    missing = size - len(images)
    return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images

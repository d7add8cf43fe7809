"""NNCF's quantisation as a recipe."""

from __future__ import annotations

from edgecnn.graph.shapes import images_per_run
from edgecnn.quantize.nncf import NncfSettings, quantize_with_nncf
from edgecnn.quantize.work import Quantised, Work

__all__ = ["nncf_default"]

#: NNCF's own default, and a bound on what is held in memory.
_IMAGES = 300


def nncf_default(work: Work) -> Quantised:
    """What ``nncf.quantize`` makes for OpenVINO on CPUs with its defaults."""
    # One image each where the model takes that: NNCF takes its statistics per batch.
    batches = list(work.required_images().spaced(_IMAGES, images_per_run(work.model)))
    settings = NncfSettings(ignored=tuple(sorted(work.keep_float)))
    model = quantize_with_nncf(work.model, batches, work.spec.input.name, settings)
    return Quantised(
        model=model,
        scheme="uint8 activations, int8 weights per channel, placed by NNCF",
        steps=("NNCF, mixed preset, fast bias correction",),
        kept_float=tuple(sorted(work.keep_float)),
    )

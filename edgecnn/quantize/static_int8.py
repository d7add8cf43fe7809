"""Static int8 with one way of choosing ranges for all activations, and nothing else."""

from __future__ import annotations

from typing import cast

from edgecnn.quantize.ranges import Method, choose_range
from edgecnn.quantize.work import Quantised, Work

__all__ = ["quantize_static", "scheme_text"]


def quantize_static(work: Work) -> Quantised:
    """Quantise with the ranges that the recipe of the settings ("minmax", ...) chooses."""
    method = cast(Method, work.settings.recipe)
    calibration = work.calibrated(work.model)
    ranges = {name: choose_range(each, method) for name, each in calibration.histograms.items()}
    return Quantised(
        model=work.placed(work.model, ranges),
        scheme=scheme_text(work),
        steps=(f"ranges by {method}",),
        kept_float=tuple(sorted(work.keep_float)),
        convergence=calibration.convergence,
    )


def scheme_text(work: Work) -> str:
    """Data types, in words."""
    if work.settings.target == "trt":
        return "int8 activations, int8 weights per channel, all symmetric"
    return str(work.scheme)

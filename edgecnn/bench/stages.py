"""Where the time of one image goes besides the model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgecnn.bench.inputs import photograph
from edgecnn.bench.opened import OpenVariant
from edgecnn.preprocess import decode, prepare
from edgecnn.reports.result import StagesMs
from edgecnn.timing.clock import SYSTEM_CLOCK
from edgecnn.timing.rounds import calls_for, timed_calls
from edgecnn.validate.ranking import first_choices, probabilities

__all__ = ["measure_stages"]

#: Seconds for each stage.
_SECONDS = 0.15

_TOP = 5


def measure_stages(opened: OpenVariant, call_ns: float) -> StagesMs:
    """Medians for one image: from the bytes of a JPEG to the model's input, the model, and its labels.

    Each on one core, one after the other, as a program does that answers one image at a time. ``copy`` is
    None: on the CPU there is none, and a GPU engine's ``run`` holds its own.

    Args:
        opened: what runs.
        call_ns: of one call of the engine, when warm.
    """
    spec, data = opened.planned.artifact.spec, photograph()
    random = np.random.default_rng(0)
    scores = random.standard_normal((1, len(spec.classes)), np.float32)

    def preprocess() -> None:
        prepare(decode(data, name="the built-in photograph"), spec)

    def postprocess() -> None:
        probabilities(scores, spec.scores)
        first_choices(scores, _TOP)

    return StagesMs(
        preprocess=_median_ms(preprocess),
        run=1e-6 * call_ns / opened.batch,
        postprocess=_median_ms(postprocess),
    )


def _median_ms(stage: Callable[[], object]) -> float:
    now = SYSTEM_CLOCK.now
    stage()
    (first,) = timed_calls(stage, 1, now)
    return 1e-6 * float(np.median(timed_calls(stage, calls_for(float(first), _SECONDS), now)))

"""Where the time of one image goes besides the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgecnn.bench.inputs import photograph, photograph_batch
from edgecnn.bench.opened import OpenVariant
from edgecnn.engines.base import CopyingEngine
from edgecnn.preprocess import decode, prepare
from edgecnn.reports.result import StagesMs
from edgecnn.timing.clock import SYSTEM_CLOCK
from edgecnn.timing.rounds import calls_for, timed_calls
from edgecnn.validate.ranking import first_choices, probabilities

__all__ = ["measure_stages", "with_run"]

#: Seconds for each stage.
_SECONDS = 0.15

_TOP = 5


def measure_stages(opened: OpenVariant, call_ns: float) -> StagesMs:
    """Medians for one image: from the bytes of a JPEG to the model's input, the model, and its labels.

    Each on one core, one after the other, as a program does that answers one image at a time. ``copy`` is
    None on the CPU, where there is none, and of an engine that cannot copy without running: its ``run``
    holds the copies.

    Args:
        opened: what runs.
        call_ns: of one call of the engine, when warm.

    Raises:
        EngineError: a copy failed.
    """
    spec, data = opened.planned.artifact.spec, photograph()
    random = np.random.default_rng(0)
    scores = random.standard_normal((1, len(spec.classes)), np.float32)

    def preprocess() -> None:
        prepare(decode(data, name="the built-in photograph"), spec)

    def postprocess() -> None:
        probabilities(scores, spec.scores)
        first_choices(scores, _TOP)

    stages = StagesMs(
        preprocess=_median_ms(preprocess), copy=_copy_ms(opened), postprocess=_median_ms(postprocess)
    )
    return with_run(stages, 1e-6 * call_ns / opened.batch)


def with_run(stages: StagesMs, image_ms: float) -> StagesMs:
    """``stages`` with what the engine's call takes for one image, ``image_ms``, without its copies."""
    return replace(stages, run=max(0.0, image_ms - (stages.copy or 0.0)))


def _copy_ms(opened: OpenVariant) -> float | None:
    engine = opened.engines[0]
    if not isinstance(engine, CopyingEngine):
        return None
    batch = photograph_batch(opened.planned.artifact.spec, opened.batch)
    return _median_ms(lambda: engine.copy_only(batch)) / opened.batch


def _median_ms(stage: Callable[[], object]) -> float:
    now = SYSTEM_CLOCK.now
    stage()
    (first,) = timed_calls(stage, 1, now)
    return 1e-6 * float(np.median(timed_calls(stage, calls_for(float(first), _SECONDS), now)))

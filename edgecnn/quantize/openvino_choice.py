"""Which of two int8 forms of a model OpenVINO runs better: ours or NNCF's. It depends on the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from edgecnn.artifact import save_artifact
from edgecnn.engines import Engine, EngineOptions, open_engine
from edgecnn.quantize.fidelity import Fidelity
from edgecnn.quantize.goal import drop_between
from edgecnn.quantize.mixed_precision import Judge, RelativeLatency
from edgecnn.quantize.sessions import in_batches
from edgecnn.spec import ModelSpec
from edgecnn.timing.speed import compare_speed
from edgecnn.validate import run_images

__all__ = ["Tried", "choose_for_openvino"]

_SECONDS = 1.5
_SAME = 1.05


@dataclass(frozen=True, slots=True)
class Tried:
    """One form in OpenVINO.

    Attributes:
        name: what to call it.
        fidelity: to the float model on held-out images.
        latency: over that of the first form.
        met: whether it meets the goal.
    """

    name: str
    fidelity: Fidelity
    latency: RelativeLatency
    met: bool


def choose_for_openvino(
    models: Mapping[str, onnx.ModelProto], spec: ModelSpec, judge: Judge
) -> tuple[str, list[Tried]]:
    """The name of the fastest of ``models`` that meets the goal; if none does, of the one with least noise.

    Latencies within five percent count as equal, and so do those that cannot be told apart; then the one with
    less noise is taken.

    Raises:
        EngineUnavailableError: OpenVINO is not installed.
        EngineError: it refuses a model.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        engines = {
            name: stack.enter_context(_opened(model, spec, folder / f"{at}.onnx"))
            for at, (name, model) in enumerate(models.items())
        }
        first = next(iter(engines.values()))
        tried = [_tried(name, engine, first, judge) for name, engine in engines.items()]
    return _preferred(tried).name, tried


def _preferred(tried: Sequence[Tried]) -> Tried:
    met = [each for each in tried if each.met]
    fastest = min((each.latency.at_most for each in met), default=np.inf)
    good = [each for each in met if each.latency.at_least <= _SAME * fastest] or tried
    return min(good, key=lambda each: each.fidelity.noise)


def _opened(model: onnx.ModelProto, spec: ModelSpec, path: Path) -> Engine:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return open_engine("openvino", save_artifact(copy, spec, path), EngineOptions(threads=1))


def _tried(name: str, engine: Engine, first: Engine, judge: Judge) -> Tried:
    scores = np.concatenate([run_images(engine, batch) for batch in in_batches(judge.images)])
    latency = RelativeLatency()
    if engine is not first:
        image = judge.images[: max(1, _fixed_batch(engine))]
        found = compare_speed(lambda: engine.run(image), lambda: first.run(image), seconds=_SECONDS)
        latency = RelativeLatency(found.ratio, found.ci95)
    reached = judge.fidelity(scores)
    met = judge.goal.met(drop_between(judge.reference, scores, judge.labels), reached.agreement)
    return Tried(name, reached, latency, met)


def _fixed_batch(engine: Engine) -> int:
    size = engine.spec.input.shape[0]
    return size if isinstance(size, int) else 1

"""Did one get what one asked for? Accuracy, speed and what really runs, of the file that was written."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.data import LabelledImages, fingerprint
from edgecnn.engines import Engine, EngineOptions, open_engine
from edgecnn.engines.base import Batch
from edgecnn.environment import describe_environment
from edgecnn.preprocess import prepare
from edgecnn.quantize.goal import Drop
from edgecnn.quantize.kernels import int8_mac_share, macs_by_node
from edgecnn.quantize.settings import QuantizeSettings, Target
from edgecnn.reports.label import label
from edgecnn.reports.max_drop import drop_gate
from edgecnn.reports.result import Gate, LatencyMs, MemoryBytes, Ratio, Result, Variant
from edgecnn.reports.variant import variant_of
from edgecnn.spec import ModelSpec, QuantizationAccuracy, QuantizationSpeed
from edgecnn.timing.order_statistics import Interval
from edgecnn.timing.speed import SpeedRatio, compare_speed, speed_verdict
from edgecnn.validate import PassSettings, Wanted, evaluate, measured_results, open_for_pass

__all__ = ["ENGINE_OF", "Evaluation", "Measured", "measure"]

#: What a target's artifacts are run in here. TensorRT's Q/DQ graph means the same in ONNX Runtime, where it
#: is slow: it tells the accuracy and not the speed.
ENGINE_OF: dict[Target, str] = {"ort": "ort", "openvino": "openvino", "trt": "ort"}

#: Seconds in which both models run in alternation; up to three times as many where that tells nothing.
_SECONDS = 3.0

_BATCH = 8

#: Percent of images with the float model's answer, below which it is no longer rounding that shows: networks
#: that int8 suits badly still agree on more.
_SUSPICIOUS = 50.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Images to measure accuracy on.

    Attributes:
        source: labelled images that set no range.
        labels: (len(source),) class indices of the model.
    """

    source: LabelledImages
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured of a quantised artifact and of the float one beside it.

    Attributes:
        results: of the float model and of the quantised one.
        accuracy: for the spec; None without images.
        speed: for the spec; None where the target does not run here.
        int8_mac_share: percent; None where it is not known.
        gates: what was asked for, and whether it holds.
    """

    results: tuple[Result, Result]
    accuracy: QuantizationAccuracy | None
    speed: QuantizationSpeed | None
    int8_mac_share: float | None
    gates: tuple[Gate, ...]


def measure(
    reference: Artifact,
    quantised: Artifact,
    models: tuple[onnx.ModelProto, onnx.ModelProto],
    settings: QuantizeSettings,
    evaluation: Evaluation | None,
    *,
    must_be_faster: bool,
) -> Measured:
    """Measure ``quantised`` against ``reference``.

    Args:
        reference: the float artifact.
        quantised: what was made of it.
        models: both, in memory.
        settings: as quantised with.
        evaluation: None to leave out accuracy.
        must_be_faster: whether not being faster is a failure.

    Raises:
        EngineUnavailableError: the target's engine is not installed.
        EngineError: it refuses a model.
    """
    results, accuracy, drop = _accuracy(reference, quantised, settings, evaluation)
    results = (results[0], replace(results[1], warnings=_suspicion(accuracy)))
    found = None
    if settings.target != "trt":
        tell_from = 1.0 if must_be_faster else None
        found = _compared(reference, quantised, settings, evaluation, tell_from)
    share = None
    if settings.target == "ort":
        share = int8_mac_share(models[1], macs_by_node(models[0], _image_shape(quantised.spec)))
    gates = _gates(drop, found if must_be_faster else None, settings)
    if found is not None:
        results = _with_speed(results, found, must_be_faster=must_be_faster)
    sized = tuple(
        replace(result, memory_bytes=MemoryBytes(file=artifact.size_bytes()))
        for result, artifact in zip(results, (reference, quantised), strict=True)
    )
    speed = None if found is None else _record(found, settings)
    return Measured((sized[0], replace(sized[1], gates=gates)), accuracy, speed, share, gates)


def _accuracy(
    reference: Artifact, quantised: Artifact, settings: QuantizeSettings, evaluation: Evaluation | None
) -> tuple[tuple[Result, Result], QuantizationAccuracy | None, Drop | None]:
    """Both results, and the accuracy where there are images."""
    engine_name = ENGINE_OF[settings.target]
    artifacts = (reference, quantised)
    if evaluation is None:
        variants = [_variant(engine_name, artifact) for artifact in artifacts]
        return (Result(variant=variants[0]), Result(variant=variants[1])), None, None
    source = evaluation.source
    pass_settings = PassSettings(batch=_BATCH, workers=settings.threads)
    with ExitStack() as stack:
        engines: list[Engine] = [
            stack.enter_context(open_for_pass(engine_name, artifact, pass_settings)) for artifact in artifacts
        ]
        found = evaluate(engines, source, evaluation.labels, pass_settings, paired=True)
        pairs = [
            (variant_of(artifact, engine.info, _BATCH), engine)
            for artifact, engine in zip(artifacts, engines, strict=True)
        ]
        results = measured_results(found, pairs, source, pass_settings, Wanted(paired=True))
    accuracy = results[1].accuracy
    assert accuracy is not None
    assert accuracy.flips is not None
    assert accuracy.agreement is not None
    assert results[0].accuracy is not None
    drop = Drop(n=accuracy.n, gained=accuracy.flips.gained, lost=accuracy.flips.lost)
    record = QuantizationAccuracy(
        data=source.name,
        fingerprint=fingerprint(source),
        n=drop.n,
        reference_top1=results[0].accuracy.top1,
        top1=accuracy.top1,
        drop=drop.points,
        drop_ci95=drop.ci95,
        agreement=accuracy.agreement,
    )
    return (results[0], results[1]), record, drop


def _variant(engine_name: str, artifact: Artifact) -> Variant:
    with open_engine(engine_name, artifact, EngineOptions(threads=1)) as engine:
        return variant_of(artifact, engine.info, 1)


def _compared(
    reference: Artifact,
    quantised: Artifact,
    settings: QuantizeSettings,
    evaluation: Evaluation | None,
    tell_from: float | None,
) -> SpeedRatio:
    """One image on one thread, in the target's engine."""
    name, options = ENGINE_OF[settings.target], EngineOptions(threads=1)
    with open_engine(name, reference, options) as before, open_engine(name, quantised, options) as after:
        batch = _one_batch(quantised, evaluation)
        return compare_speed(
            lambda: before.run(batch), lambda: after.run(batch), seconds=_SECONDS, tell_from=tell_from
        )


def _record(found: SpeedRatio, settings: QuantizeSettings) -> QuantizationSpeed:
    return QuantizationSpeed(
        engine=ENGINE_OF[settings.target],
        cpu=describe_environment(()).cpu,
        reference_ms=found.reference_ms,
        ms=found.ms,
        ratio=found.ratio,
        ratio_spread=found.spread,
        ratio_ci95=found.ci95,
    )


def _one_batch(artifact: Artifact, evaluation: Evaluation | None) -> Batch:
    """One image, or as many as the model is fixed to; without images, grey ones."""
    tensor = artifact.spec.input
    count = tensor.shape[0] if isinstance(tensor.shape[0], int) else 1
    if evaluation is None:
        return np.zeros((count, *_image_shape(artifact.spec)), tensor.dtype)
    image = prepare(evaluation.source.image(0), artifact.spec)
    return np.repeat(image[np.newaxis], count, axis=0)


def _image_shape(spec: ModelSpec) -> tuple[int, ...]:
    """Of one model input as :func:`prepare` makes it: (C, H, W), or (H, W, C) of pixels as they are."""
    channels, size = spec.preprocess.channels, spec.preprocess.crop
    return (*size, channels) if spec.preprocess.in_graph else (channels, *size)


def _gates(drop: Drop | None, speed: SpeedRatio | None, settings: QuantizeSettings) -> tuple[Gate, ...]:
    """What its interval cannot tell from the limit holds."""
    gates = []
    if drop is not None:
        gates.append(drop_gate(drop.points, drop.ci95, settings.max_drop))
    if speed is not None:
        held = speed_verdict(speed.ci95) != "not faster"
        gates.append(Gate(name="min_speedup", limit=1.0, value=speed.ratio, held=held))
    return tuple(gates)


def _with_speed(
    results: tuple[Result, Result], found: SpeedRatio, *, must_be_faster: bool
) -> tuple[Result, Result]:
    """``results`` with both latencies, and how fast the second is against the first."""
    verdict = speed_verdict(found.ci95)
    before = replace(results[0], latency_ms=LatencyMs(p50=found.reference_ms))
    after = replace(
        results[1],
        latency_ms=LatencyMs(p50=found.ms),
        ratio=Ratio(
            baseline=label(before.variant),
            speedup=found.ratio,
            ci95=found.ci95,
            distinct=verdict != "unclear",
        ),
        warnings=(
            *results[1].warnings,
            *((_doubt(found.ci95),) if must_be_faster and verdict == "unclear" else ()),
        ),
    )
    return before, after


def _suspicion(accuracy: QuantizationAccuracy | None) -> tuple[str, ...]:
    """What to say of answers that are others than the float model's, however few images told so."""
    if accuracy is None or accuracy.agreement >= _SUSPICIOUS:
        return ()
    return (
        f"It answers as the float model on {accuracy.agreement:.1f} % of {accuracy.n} images only: that is "
        "hardly rounding. Measure it on more images with 'edgecnn validate' before you use it; another "
        "--recipe, or --keep-float with the first layers, may help.",
    )


def _doubt(ci95: Interval) -> str:
    """What to say of an interval that holds 1 and more."""
    low, high = ci95
    return (
        "Whether it is faster than the float model cannot be told: the 95 % interval of its speed is "
        f"{low:.2f} to {high:.2f} times the float model's. Quantise again on a machine that does nothing "
        "else, or measure both for longer with 'edgecnn bench'."
    )

"""The one schema of measurements: every measuring command writes it, every report reads it.

Percentages are 0 to 100. What was not measured is None here and left out of the JSON, never zero.
``result_file`` reads and writes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.environment import Environment
from edgecnn.nvml import GpuCondition
from edgecnn.spec import Precision

__all__ = [
    "RESULT_VERSION",
    "Accuracy",
    "BadImage",
    "ClassAccuracy",
    "Dataset",
    "EngineFacts",
    "Flip",
    "Flips",
    "Gate",
    "Interval",
    "LatencyMs",
    "MemoryBytes",
    "ModelSize",
    "Pace",
    "PercentilesCi95",
    "Ratio",
    "Result",
    "ResultFile",
    "Scenario",
    "StagesMs",
    "Variant",
]

RESULT_VERSION = "edgecnn.result/1"

#: Lower and upper bound.
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What really ran, besides the engine's name and its threads.

    Attributes:
        version: of the library behind the engine.
        device: "cpu", or the name of the GPU.
        providers: the parts of the library in actual use; empty where it has no such notion.
    """

    version: str
    device: str
    providers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What was measured: one artifact in one engine.

    Attributes:
        network: from the artifact's spec.
        artifact: the model file, as the user named it.
        sha256: of the artifact's content.
        precision: what the arithmetic really ran in.
        engine: its name in the table of engines.
        engine_info: what really ran; None, like the rest, where the engine did not open.
        batch: images per call.
        threads: threads that worked on one call.
        options: what else the engine was told, such as "arena=off"; empty for nothing.
        artifact_precision: what the file holds, whatever the arithmetic; None where it is not known.
    """

    network: str
    artifact: str
    sha256: str
    precision: Precision
    engine: str
    engine_info: EngineFacts | None = None
    batch: int | None = None
    threads: int | None = None
    options: str = ""
    artifact_precision: Precision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadImage:
    """An image that could not be used, and was left out for every variant of the run."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The labelled images behind an accuracy.

    Attributes:
        name: of the source.
        fingerprint: of the images that count; equal for the same images, labels and order.
        images: how many were asked for, bad ones included.
        bad: those left out.
    """

    name: str
    fingerprint: str
    images: int
    bad: tuple[BadImage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """How many images changed sides between the reference and this variant.

    Attributes:
        gained: the reference is wrong, this is right.
        lost: the reference is right, this is wrong.
    """

    gained: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """One image on which this variant and its reference differ in their first choice.

    Attributes:
        key: the image.
        label: class index of the truth.
        reference: class index that the reference chose.
        predicted: class index that this variant chose.
    """

    key: str
    label: int
    reference: int
    predicted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAccuracy:
    """One class of a per-class table; classes without an image are left out.

    Attributes:
        index: of the class.
        name: of the class.
        n: its images.
        top1: percent of them right.
        reference_top1: likewise of the reference; None without one.
    """

    index: int
    name: str
    n: int
    top1: float
    reference_top1: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Accuracy on labelled images; against a reference, paired: on the same images.

    Attributes:
        n: images that count, bad ones excluded.
        top1: percent whose label is the first choice. Of equal scores the lower class index is first.
        top1_ci95: Wilson's 95 % interval of it.
        top5: percent whose label is among the first five; None for five classes or fewer.
        top5_ci95: likewise.
        tied: images whose highest score several classes have; int8 outputs often do.
        reference: what the fields below compare with; None without a reference.
        agreement: percent of images with the same first choice as the reference.
        flips: see :class:`Flips`.
        mcnemar_p: p-value of "both are right equally often", exact and two-sided.
        sqnr_db: power of the reference's scores over that of the difference, in decibel; None when there
            is no difference (``max_abs_difference`` is 0), and when one holds logits, the other
            probabilities.
        max_abs_difference: largest absolute difference of two scores; None likewise in the latter case.
        flipped: every image whose first choice differs from the reference's, in the order of the data.
        per_class: on demand.
        confused: on demand: (label, predicted, images) of what is wrong, as class indices, the most frequent.
        dataset: the images.
    """

    n: int
    top1: float
    top1_ci95: Interval
    top5: float | None = None
    top5_ci95: Interval | None = None
    tied: int | None = None
    reference: Variant | None = None
    agreement: float | None = None
    flips: Flips | None = None
    mcnemar_p: float | None = None
    sqnr_db: float | None = None
    max_abs_difference: float | None = None
    flipped: tuple[Flip, ...] | None = None
    per_class: tuple[ClassAccuracy, ...] | None = None
    confused: tuple[tuple[int, int, int], ...] | None = None
    dataset: Dataset | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a validation pass went; not a benchmark, since decoding shares the cores.

    Attributes:
        seconds: wall time of the pass, in which every image is decoded once and run in every engine.
        images_per_s: images of the pass per second of it.
        engine_images_per_s: images per second of this variant's own runs, as many side by side as the
            pass had workers (one by one where the engine allows no parallel runs).
        workers: how many decoded and ran side by side.
    """

    seconds: float
    images_per_s: float
    engine_images_per_s: float
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PercentilesCi95:
    """95 % intervals of latency percentiles, in milliseconds; an end that the samples cannot give is None."""

    p50: Interval | None = None
    p90: Interval | None = None
    p95: Interval | None = None
    p99: Interval | None = None
    p99_9: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyMs:
    """Percentiles of the time of one query, in milliseconds; None where there are too few samples.

    Attributes:
        p50: the median; p90, p95, p99 and p99_9 likewise.
        ci95: their intervals.
        jitter: mean absolute difference between one query and the next.
        quantiles: the latencies at 0, 1, ... 100 %, to draw their distribution.
        samples: queries that count, those of the warm-up excluded.
        warmup: queries until the latency had settled.
    """

    p50: float
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p99_9: float | None = None
    ci95: PercentilesCi95 | None = None
    jitter: float | None = None
    quantiles: tuple[float, ...] | None = None
    samples: int | None = None
    warmup: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StagesMs:
    """Where the time of one image goes, medians in milliseconds; None for a stage that there is not.

    Attributes:
        preprocess: on the host, from the encoded image to the model's input.
        copy: to the device and back.
        run: the engine's call, without what ``copy`` holds.
        postprocess: from scores to labels.
    """

    preprocess: float | None = None
    copy: float | None = None
    run: float | None = None
    postprocess: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How the load was made, after MLPerf Inference.

    Attributes:
        name: "single", "multi", "offline" or "server".
        driver: "built-in" or "loadgen".
        duration_s: how long it really ran.
        target_qps: of the server scenario: queries per second that were to arrive.
        latency_bound_ms: of the server scenario: what the 99th percentile may be.
        instances: of the model, side by side.
        valid: whether the run is one that MLPerf's rules on duration and count would accept.
        logs: folder of LoadGen's own logs.
    """

    name: str
    driver: str
    duration_s: float
    target_qps: float | None = None
    latency_bound_ms: float | None = None
    instances: int = 1
    valid: bool = False
    logs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How fast this variant is against the baseline of its run, both measured in alternation.

    Attributes:
        baseline: the variant compared with, as ``reports.label`` words it.
        speedup: median over rounds of the baseline's time over this one's; above 1 this is faster.
        ci95: 95 % interval of it.
        distinct: whether the interval excludes 1.
    """

    baseline: str
    speedup: float
    ci95: Interval
    distinct: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBytes:
    """Sizes in bytes; all but ``file`` are peak resident memory of a fresh process above an empty one.

    Attributes:
        file: the artifact on disk, external weights included.
        runtime: once the engine's library was imported.
        load: once the model was open.
        first_run: once it had run.
        peak: after many runs: the steady state.
        device: GPU memory that the process held, where there is a GPU.
    """

    file: int | None = None
    runtime: int | None = None
    load: int | None = None
    first_run: int | None = None
    peak: int | None = None
    device: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """What the network is made of.

    Attributes:
        parameters: numbers that training found.
        macs: multiply-accumulates for one image.
    """

    parameters: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A limit that the user stated, and whether it held.

    Attributes:
        name: the option without its dashes, such as "max_drop".
        limit: as given.
        value: as measured, in the unit of the limit.
        held: whether the value is within the limit, or beyond it by no more than chance explains.
    """

    name: str
    limit: float
    value: float
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All that was measured of one variant.

    Attributes:
        variant: what was measured.
        accuracy: on labelled images.
        pace: of the pass that measured the accuracy.
        size: of the network.
        scenario: how the load of the benchmark was made.
        latency_ms: of one query.
        stages_ms: where the time of one image goes.
        throughput_per_s: images per second of a benchmark.
        throughput_ci95: 95 % interval of it.
        ratio: to the baseline of the benchmark.
        memory_bytes: sizes.
        energy_j_per_image: joules.
        energy_note: what it was read from, or why it could not be.
        gpu: what the GPU was doing right after the benchmark; None on the CPU, or where it does not tell.
        warnings: what makes the figures less certain, in words.
        gates: the limits that were stated.
        error: why it could not be measured; what is None then is not known.
    """

    variant: Variant
    accuracy: Accuracy | None = None
    pace: Pace | None = None
    size: ModelSize | None = None
    scenario: Scenario | None = None
    latency_ms: LatencyMs | None = None
    stages_ms: StagesMs | None = None
    throughput_per_s: float | None = None
    throughput_ci95: Interval | None = None
    ratio: Ratio | None = None
    memory_bytes: MemoryBytes | None = None
    energy_j_per_image: float | None = None
    energy_note: str | None = None
    gpu: GpuCondition | None = None
    warnings: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """One document: the machine and what was measured on it."""

    environment: Environment
    results: tuple[Result, ...]

"""A comparison as a user gets it: networks x engines x precisions, with gaps and failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from edgecnn.environment import Environment
from edgecnn.reports.result import (
    Accuracy,
    ClassAccuracy,
    Dataset,
    EngineFacts,
    Flip,
    Flips,
    Interval,
    LatencyMs,
    MemoryBytes,
    ModelSize,
    PercentilesCi95,
    Ratio,
    Result,
    ResultFile,
    Scenario,
    StagesMs,
    Variant,
)
from edgecnn.spec import Precision
from edgecnn.statistics import mcnemar_exact, wilson_interval

ENVIRONMENT = Environment(
    cpu="AMD EPYC 9R45",
    cores=2,
    versions={"edgecnn": "0.4.0", "onnxruntime": "1.31.1", "openvino": "2026.4.1", "torch": "2.15.0"},
    started="2026-11-21T14:47:49+00:00",
    os="Debian GNU/Linux 12 (bookworm), Linux 6.18 x86_64",
    python="3.11.7",
    memory_bytes=25_276_502_016,
    instruction_sets=("avx2", "avx512f", "avx512_vnni", "avx512_bf16"),
)

#: network -> (parameters, MACs, top-1 of 700 images, median ms of fp32 in ort)
NETWORKS = {
    "mobilenet_v2": (3_504_872, 300_774_272, 71.9, 4.1),
    "mobilenet_v3_small": (2_542_856, 56_510_000, 66.4, 1.6),
    "efficientnet_b0": (5_288_548, 385_870_000, 77.3, 7.4),
    "shufflenet_v2_x0_5": (1_366_792, 40_000_000, 60.1, 1.5),
    "squeezenet1_1": (1_235_496, 349_150_000, 57.9, 3.1),
    "resnet18": (11_689_512, 1_814_000_000, 69.6, 10.8),
}
ENGINES = {"torch": 1.9, "ort": 1.0, "openvino": 0.86}
PRECISIONS: dict[Precision, tuple[float, float, float]] = {
    "fp32": (1.0, 0.0, 4.0),
    "bf16": (0.62, 0.2, 4.0),
    "int8": (0.48, 0.7, 1.1),
}
N = 700


def variant(
    network: str = "mobilenet_v2",
    precision: Precision = "fp32",
    engine: str = "ort",
    *,
    batch: int | None = 1,
    threads: int | None = 2,
    options: str = "",
) -> Variant:
    """A variant whose sha256 follows from the network and the file's precision."""
    file = "fp32" if precision == "bf16" else precision
    suffix = "" if file == "fp32" else f".{file}"
    return Variant(
        network=network,
        artifact=f"cells/{network}{suffix}.onnx",
        sha256=f"{network}-{file}".encode().hex().ljust(64, "0")[:64],
        precision=precision,
        engine=engine,
        engine_info=EngineFacts(version="1", device="cpu"),
        batch=batch,
        threads=threads,
        options=options,
    )


def latency_of(median: float, rng: np.random.Generator) -> LatencyMs:
    """Right-skewed, as latencies are."""
    samples = median * (1 + rng.gamma(1.4, 0.03, 4000))
    quantiles = tuple(np.percentile(samples, range(101)).round(5).tolist())
    p50, p90, p95, p99, p99_9 = np.percentile(samples, [50, 90, 95, 99, 99.9]).round(5).tolist()
    near: Interval = (p90 * 0.995, p90 * 1.005)
    return LatencyMs(
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        p99_9=p99_9,
        ci95=PercentilesCi95(p50=(p50 * 0.997, p50 * 1.003), p90=near, p99_9=(p99, p99_9 * 1.05)),
        jitter=0.01 * median,
        quantiles=quantiles,
        samples=4000,
        warmup=31,
    )


def accuracy_of(right: int, flipped: Sequence[Flip], reference: Variant | None) -> Accuracy:
    low, high = wilson_interval(right, N)
    gained = sum(flip.predicted == flip.label for flip in flipped)
    lost = sum(flip.reference == flip.label for flip in flipped)
    accuracy = Accuracy(
        n=N,
        top1=100 * right / N,
        top1_ci95=(100 * low, 100 * high),
        top5=min(100.0, 100 * right / N + 18),
        dataset=Dataset(name="imagenet-700", fingerprint="f00d", images=N),
        per_class=tuple(
            ClassAccuracy(index=index, name=name, n=70, top1=60.0) for index, name in enumerate(CLASS_NAMES)
        ),
    )
    if reference is None:
        return accuracy
    return replace(
        accuracy,
        reference=reference,
        agreement=100 * (1 - len(flipped) / N),
        flips=Flips(gained=gained, lost=lost),
        mcnemar_p=mcnemar_exact(gained, lost),
        flipped=tuple(flipped),
    )


CLASS_NAMES = (
    "tench, Tinca tinca",
    "goldfish",
    "great white shark",
    "tiger shark",
    "hammerhead",
    "electric ray",
    "cock",
    "hen",
    "ostrich",
    "brambling",
)


def _flips(drop: float, rng: np.random.Generator) -> list[Flip]:
    lost = round(drop * N / 100) + 3
    flips = [_flip(rng, "lost") for _ in range(lost)] + [_flip(rng, "gained") for _ in range(3)]
    flips += [_flip(rng, "both wrong") for _ in range(4)]
    return list({flip.key: flip for flip in flips}.values())


def _flip(rng: np.random.Generator, kind: str) -> Flip:
    image = int(rng.integers(40))
    label, one, other = (int(index) for index in rng.permutation(len(CLASS_NAMES))[:3])
    reference, predicted = {"lost": (label, one), "gained": (one, label)}.get(kind, (one, other))
    return Flip(
        key=f"val/ILSVRC2012_val_{image:08d}.JPEG", label=label, reference=reference, predicted=predicted
    )


def measured(
    network: str, precision: Precision, engine: str, rng: np.random.Generator, *, accurate: bool = True
) -> Result:
    parameters, macs, top1, fp32_ms = NETWORKS[network]
    factor, drop, bytes_each = PRECISIONS[precision]
    own = variant(network, precision, engine)
    median = fp32_ms * ENGINES[engine] * factor
    runtime = {"torch": 190, "ort": 42, "openvino": 66}[engine] * 1_000_000
    weights = round(parameters * bytes_each)
    is_reference = precision == "fp32" and engine == "ort"
    flips = [] if is_reference else _flips(drop, rng)
    lost = sum(flip.reference == flip.label for flip in flips)
    gained = sum(flip.predicted == flip.label for flip in flips)
    right = round(top1 * N / 100) + gained - lost
    reference = None if is_reference else variant(network)
    return Result(
        variant=own,
        accuracy=accuracy_of(right, flips, reference) if accurate else None,
        size=ModelSize(parameters=parameters, macs=macs),
        scenario=Scenario(name="single", driver="built-in", duration_s=4.0),
        latency_ms=latency_of(median, rng),
        stages_ms=StagesMs(preprocess=2.1, run=median, postprocess=0.05),
        throughput_per_s=1000 / median,
        throughput_ci95=(990 / median, 1010 / median),
        ratio=Ratio(
            baseline="mobilenet_v2 fp32 ort, batch 1, 2 threads",
            speedup=4.1 / median,
            ci95=(4.05 / median, 4.15 / median),
            distinct=True,
        ),
        memory_bytes=MemoryBytes(
            file=weights,
            runtime=runtime,
            load=runtime + weights + 4_000_000,
            first_run=runtime + weights + 14_000_000,
            peak=runtime + weights + 19_000_000,
        ),
        energy_note="no RAPL counter can be read here",
    )


def full_comparison() -> ResultFile:
    rng = np.random.default_rng(7)
    results = [
        measured(network, precision, engine, rng, accurate=(network, engine) != ("squeezenet1_1", "torch"))
        for network in NETWORKS
        for engine in ENGINES
        for precision in PRECISIONS
        if precision == "fp32" or (engine == "openvino") or (precision == "int8" and engine == "ort")
    ]
    failed = [
        Result(
            variant=replace(variant(network, "int8", "torch", batch=None, threads=None), engine_info=None),
            error="torch runs no quantised ONNX file; use --engine ort or openvino.",
        )
        for network in ("mobilenet_v2", "resnet18")
    ]
    noisy = "The machine was too noisy to tell this from its baseline: the medians of rounds vary by 11 %."
    results[3] = replace(results[3], warnings=(noisy,))
    return ResultFile(environment=ENVIRONMENT, results=(*results, *failed))


@pytest.fixture(scope="session")
def comparison() -> ResultFile:
    """Six networks in three engines and up to three precisions; two failures, one without accuracies."""
    return full_comparison()


@pytest.fixture(scope="session")
def few(comparison: ResultFile) -> ResultFile:
    """Four variants of one network, one of another, and a failure: enough for each part of a report."""
    results = comparison.results
    return replace(comparison, results=(*results[1:5], results[25], results[-1]))


@pytest.fixture(name="variant")
def variant_maker() -> Callable[..., Variant]:
    """Makes a variant; by default that of mobilenet_v2, fp32, in ort."""
    return variant


@pytest.fixture
def file() -> Callable[..., ResultFile]:
    """Makes a document of results, measured on one machine."""

    def build(*results: Result) -> ResultFile:
        return ResultFile(environment=ENVIRONMENT, results=results)

    return build


@pytest.fixture(
    params=[
        "<script>alert(1)</script>",
        "\"'><img src=x onerror=alert(1)>",
        "]]></svg><!-- {{ 7 * 7 }} {% raw %}",
        "$\\frac{$ \\x _a^b #010101 %",
        "a\x00b\x1b[31m\nc\u202ed\u4e2d\u6587 \N{PILE OF POO}",
    ],
    ids=["script", "attribute", "markup", "formula", "characters"],
)
def hostile(request: pytest.FixtureRequest) -> str:
    """A name that means something to whoever forgets to escape it."""
    return str(request.param)

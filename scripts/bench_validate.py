"""How well the validation pipeline fills the cores: decoding and inference together against each alone.

    python scripts/bench_validate.py --model mobilenet_v2.onnx --data DATA/imagenet/eval

A stage alone is one thread on one core: decoding (read, decode, resize, normalise), or inference (the
engine with one thread). Of t_d and t_i seconds per image the larger belongs to the slower stage. Required:
on 2 cores, at least 85 % of the slower stage's pace, 1 / max(t_d, t_i). No schedule on k cores exceeds the
work-conserving bound, k / (t_d + t_i). The stages on all cores at once show how much of the distance to
that bound is cores sharing memory and caches, and no fault of the schedule: from their paces d and i
follows 1 / (1 / d + 1 / i).

All variants take turns in every round; medians of the rounds count. Use a quiet machine: what other
programs take is printed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from edgecnn.artifact import open_artifact
from edgecnn.data import LabelledImages, map_labels, open_source, ordered_map, subset
from edgecnn.engines import Engine
from edgecnn.environment import describe_environment, usable_cores
from edgecnn.preprocess import prepare
from edgecnn.validate import PassSettings, evaluate, open_for_pass, run_images

REQUIRED = 0.85

Work = Callable[[range], object]


def main() -> int:
    """Measure and print; 1 if the requirement does not hold."""
    arguments = _arguments()
    environment = describe_environment()
    settings = PassSettings(batch=arguments.batch, workers=usable_cores())
    artifact = open_artifact(arguments.model)
    source = subset(open_source(arguments.data), arguments.limit)
    labels = map_labels(source, artifact.spec.classes)
    with open_for_pass(arguments.engine, artifact, settings) as engine:
        decode, infer = _decoding(source, engine), _inference(source, engine, settings.batch)
        variants = {
            "decode alone, 1 core": lambda: _stage(decode, source, settings, workers=1),
            "infer alone, 1 core": lambda: _stage(infer, source, settings, workers=1),
            "decode alone, all cores": lambda: _stage(decode, source, settings, workers=settings.workers),
            "infer alone, all cores": lambda: _stage(infer, source, settings, workers=settings.workers),
            "pipeline": lambda: evaluate([engine], source, labels, settings).wall_s,
        }
        others, begin = _others_busy_s(), perf_counter()
        seconds = _rounds(variants, arguments.rounds)
        disturbance = (_others_busy_s() - others) / (perf_counter() - begin)
    print(f"{environment.cpu}, {environment.cores} cores, {environment.os}, Python {environment.python}")
    print(", ".join(f"{name} {version}" for name, version in environment.versions.items()))
    print(f"{environment.started}: {artifact.path} in {arguments.engine}, batches of {settings.batch}")
    print(f"{source.name}, {len(source)} images a round, {arguments.rounds} rounds")
    print(f"other programs kept {disturbance:.2f} of the cores busy meanwhile\n")
    return _report(seconds, len(source), settings.workers)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pace of the validation pipeline.")
    parser.add_argument("--model", type=Path, required=True, help="an artifact")
    parser.add_argument("--data", required=True, help="labelled images")
    parser.add_argument("--engine", default="ort")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--limit", type=int, default=200, help="images a round")
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def _decoding(source: LabelledImages, engine: Engine) -> Work:
    return lambda chunk: np.stack([prepare(source.image(index), engine.spec) for index in chunk])


def _inference(source: LabelledImages, engine: Engine, batch: int) -> Work:
    """Runs batches that are in memory already: the first few, again and again."""
    starts = range(0, min(8 * batch, len(source) - batch + 1), batch)
    batches = [
        np.stack([prepare(source.image(start + i), engine.spec) for i in range(batch)]) for start in starts
    ]
    return lambda chunk: run_images(engine, batches[chunk.start // batch % len(batches)][: len(chunk)])


def _stage(work: Work, source: LabelledImages, settings: PassSettings, *, workers: int) -> float:
    """Seconds for all images, on so many threads, in the pipeline's batches."""
    starts = range(0, len(source), settings.batch)
    chunks = [range(start, min(start + settings.batch, len(source))) for start in starts]
    begin = perf_counter()
    for _ in ordered_map(work, chunks, workers=workers, window=2 * workers):
        pass
    return perf_counter() - begin


def _rounds(variants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant in each round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, variant in variants.items():
            taken = variant()
            if number:
                seconds[name].append(taken)
    return seconds


def _others_busy_s() -> float:
    """Core-seconds that everything but this process has used since boot (Linux; else 0)."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0.0
    user, nice, system, _, _, *interrupts = map(int, stat.read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:2])


def _report(seconds: dict[str, list[float]], images: int, cores: int) -> int:
    print(f"{'':26}{'images/s':>10}{'min':>8}{'max':>8}")
    pace = {}
    for name, taken in seconds.items():
        pace[name] = images / median(taken)
        print(f"{name:26}{pace[name]:10.1f}{images / max(taken):8.1f}{images / min(taken):8.1f}")
    decode, infer = pace["decode alone, 1 core"], pace["infer alone, 1 core"]
    everywhere = [pace["decode alone, all cores"], pace["infer alone, all cores"]]
    bounds = {
        "slower stage alone, 1 core": min(decode, infer),
        f"work-conserving bound, {cores}": cores / (1 / decode + 1 / infer),
        "the same, cores sharing": 1 / sum(1 / one for one in everywhere),
    }
    print()
    for name, bound in bounds.items():
        print(f"{name:26}{bound:10.1f}   pipeline at {pace['pipeline'] / bound:.0%} of it")
    held = pace["pipeline"] >= REQUIRED * min(decode, infer)
    print(f"\nRequired: {REQUIRED:.0%} of the slower stage alone: {'held' if held else 'NOT HELD'}.")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

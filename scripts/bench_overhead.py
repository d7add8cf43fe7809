#!/usr/bin/env python3
"""What measuring costs: `edgecnn bench` against a bare loop over the session, and against LoadGen.

    python scripts/bench_overhead.py [MODEL.onnx] [--seconds 20] [--pairs 30]

1. ONNX Runtime at batch 1, one thread: the calls that `edgecnn bench` makes, in its own slices, against
   `session.run` in a plain loop that is timed as a whole. Two sessions of the same file, in turns in one run.
   Asked: within 3 %. The engine's `run` in the same plain loop takes part, too: what it differs by is the
   engine's checks and where its session happens to lie in memory; the rest is the measuring.
2. The built-in single stream against MLCommons LoadGen's, on one session, in turns: 50th and 90th percentile.
   Asked: within 5 %.

Ratios are medians over rounds, with their 95 % intervals. Exits with 1 if one is not within what is asked;
where its interval reaches into that, the machine was too noisy to show it.
Without MODEL, MobileNetV2 of random weights is exported first.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.bench.inputs import random_batch
from edgecnn.bench.load import load_of, slice_seconds
from edgecnn.bench.opened import OpenVariant, open_variant
from edgecnn.bench.plan import BenchPlan
from edgecnn.cards import find_card
from edgecnn.engines.choice import parse_choice
from edgecnn.environment import describe_environment
from edgecnn.export.network import export_network
from edgecnn.export.settings import ExportSettings
from edgecnn.timing.order_statistics import median_interval
from edgecnn.timing.rounds import RoundSettings, calls_for, interleave, timed_calls
from edgecnn.timing.warmup import warm_up
from edgecnn.weights import load_network

BARE_LIMIT, LOADGEN_LIMIT = 0.03, 0.05

#: Seconds of a LoadGen run: its start and end must not weigh.
LOADGEN_SECONDS = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=20, help="of the first comparison")
    parser.add_argument("--pairs", type=int, default=30, help="of the second")
    arguments = parser.parse_args()
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.cores} cores, {environment.os}, Python {environment.python}")
    print(", ".join(f"{name} {version}" for name, version in environment.versions.items()))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        artifact = _exported(folder) if arguments.model is None else open_artifact(arguments.model)
        plan = BenchPlan(
            models=(artifact,), engines=(parse_choice("ort:threads=1"),), duration_s=arguments.seconds
        )
        opened = open_variant(plan, plan.variants[0], stack)
        print(f"{artifact.spec.network}, ort, batch 1, one thread\n")
        held = _against_bare_loop(plan, opened, arguments.seconds)
        held &= _against_loadgen(opened, arguments.pairs, folder)
    return 0 if held else 1


def _exported(folder: Path) -> Artifact:
    network = load_network(find_card("mobilenet_v2"), "random", seed=0)
    return export_network(network, ExportSettings(), folder / "mobilenet_v2.onnx")


def _against_bare_loop(plan: BenchPlan, opened: OpenVariant, seconds: float) -> bool:
    bare = _bare_run(opened.planned.artifact, seed=plan.seed)
    call_ns = warm_up(opened.calls[0]).call_ns
    warm_up(bare)
    count = calls_for(call_ns, slice_seconds(plan, [opened])[1])
    load = load_of(plan, opened, call_ns, slice_seconds(plan, [opened]), several=True)

    def sliced() -> float:
        load()
        return 0.0  # its figures come from the load's own series

    slices = [lambda: _loop_ns(bare, count), lambda: _loop_ns(opened.calls[0], count), sliced]
    loop, control, _ = interleave(slices, RoundSettings(seconds=seconds))
    measured = load.series().costs
    print(
        f"bare loop {1e-6 * float(np.median(loop)):.3f} ms, bench {1e-6 * float(np.median(measured)):.3f} ms"
    )
    print(f"  timing an empty call: {_empty_call_ns():.0f} ns")
    _tell("the engine's run in a bare loop / bare loop", np.array(control) / np.array(loop))
    _tell("bench / the engine's run in a bare loop", measured / np.array(control))
    return _tell("bench / bare loop", measured / np.array(loop), BARE_LIMIT)


def _bare_run(artifact: Artifact, seed: int) -> Callable[[], object]:
    """What somebody would write who has nothing but ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(artifact.path), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: random_batch(artifact.spec, 1, seed)}
    return lambda: session.run(None, feed)


def _loop_ns(run: Callable[[], object], count: int) -> float:
    """Nanoseconds of a call, from the time of the whole loop; one call before it, as the bench makes."""
    run()
    begin = perf_counter_ns()
    for _ in range(count):
        run()
    return (perf_counter_ns() - begin) / count


def _empty_call_ns() -> float:
    """What a sample holds besides the call."""
    return float(np.median(timed_calls(lambda: None, 100_000, perf_counter_ns)))


def _against_loadgen(opened: OpenVariant, pairs: int, folder: Path) -> bool:
    from edgecnn.timing.loadgen import LoadgenSettings, run_loadgen

    query = opened.queries[0]
    call_ns = warm_up(query).call_ns
    count = calls_for(call_ns, LOADGEN_SECONDS)
    settings = LoadgenSettings(
        scenario="single", seconds=LOADGEN_SECONDS, logs=folder / "logs", expected_per_s=1e9 / call_ns
    )
    slices: list[Callable[[], dict[float, float]]] = [
        lambda: _percentiles_ms(timed_calls(query, count, perf_counter_ns)),
        lambda: run_loadgen(settings, [query]).percentiles_ms,
    ]
    built_in, loadgen = interleave(slices, RoundSettings(seconds=0, least=pairs))
    held = True
    for share in (0.5, 0.9):
        ours, theirs = (np.array([each[share] for each in found]) for found in (built_in, loadgen))
        print(f"p{100 * share:.0f}: built-in {np.median(ours):.3f} ms, LoadGen {np.median(theirs):.3f} ms")
        held &= _tell(f"built-in / LoadGen, p{100 * share:.0f}", ours / theirs, LOADGEN_LIMIT)
    return held


def _percentiles_ms(samples: NDArray[np.int64]) -> dict[float, float]:
    return {share: 1e-6 * float(np.quantile(samples, share, method="inverted_cdf")) for share in (0.5, 0.9)}


def _tell(what: str, ratios: NDArray[np.float64], limit: float | None = None) -> bool:
    """Print the median ratio with its interval and spread; whether it is within ``limit`` of 1."""
    ratio, interval = float(np.median(ratios)), median_interval(ratios)
    low, high = np.percentile(ratios, (10, 90))
    held = limit is None or abs(ratio - 1) <= limit
    asked = (
        ""
        if limit is None
        else f"  asked: within {100 * limit:.0f} %: {_verdict(interval, limit, held=held)}"
    )
    bounds = "too few rounds" if interval is None else f"95 % CI {interval[0]:.3f} to {interval[1]:.3f}"
    print(
        f"  {what}: {ratio:.3f} ({bounds}; rounds {low:.3f} to {high:.3f}, n={len(ratios)}){asked}",
        flush=True,
    )
    return held


def _verdict(interval: tuple[float, float] | None, limit: float, *, held: bool) -> str:
    if held:
        return "held"
    reaches = interval is not None and interval[0] <= 1 + limit and interval[1] >= 1 - limit
    return "NOT SHOWN, too noisy" if reaches else "NOT HELD"


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""How much faster int8 is than float in ONNX Runtime, on this CPU: random weights, batch 1, one thread.

    python scripts/bench_int8.py [NETWORK ...]

Each network is exported and quantised (ranges by MinMax of the built-in photographs: latency does not depend
on them), and both files run in turns in one process, in several rounds. The ratio is the float model's time
over the int8 model's, round by round; 10th and 90th percentile in brackets. With --profile, the time by
operator follows, from ONNX Runtime's own profile.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from edgecnn.artifact import Artifact, read_onnx, save_artifact
from edgecnn.cards import find_card
from edgecnn.engines import EngineOptions, open_engine
from edgecnn.environment import describe_environment
from edgecnn.export.images import builtin_images
from edgecnn.export.network import export_network
from edgecnn.export.settings import ExportSettings
from edgecnn.graph.pooling import pool_globally
from edgecnn.preprocess import prepare
from edgecnn.quantize.calibration import calibrate
from edgecnn.quantize.kernels import int8_mac_share, macs_by_node
from edgecnn.quantize.placement import Scheme, place_qdq
from edgecnn.quantize.ranges import choose_range
from edgecnn.quantize.sites import activation_site
from edgecnn.timing.speed import compare_speed
from edgecnn.weights import load_network

#: network -> the ratio that is asked for, on a CPU with VNNI.
REQUIRED = {
    "mobilenet_v2": 2.1,
    "resnet50": 3.0,
    "shufflenet_v2_x1_0": 1.6,
    "mobilenet_v3_large": 1.35,
    "efficientnet_b0": 1.15,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=list(REQUIRED))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--stem-in-float", action="store_true", help="as the recipe auto often chooses")
    arguments = parser.parse_args()
    environment = describe_environment()
    print(f"{environment.cpu}, {', '.join(environment.instruction_sets or ())}")
    print(f"onnxruntime {environment.versions['onnxruntime']}, one thread, batch 1\n")
    print("| network | fp32 ms | int8 ms | ratio | asked | int8 MACs |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    held = [
        _row(name, arguments.seconds, profile=arguments.profile, stem_in_float=arguments.stem_in_float)
        for name in arguments.networks
    ]
    return 0 if all(held) else 1


def _stem(model: onnx.ModelProto) -> frozenset[str]:
    """The nodes around the first activation that a convolution reads: ``auto`` often leaves them in float."""
    source = model.graph.input[0].name
    read = {node.input[0] for node in model.graph.node if node.op_type == "Conv"} - {source}
    first = next(node.output[0] for node in model.graph.node if node.output[0] in read)
    return activation_site(model, first).nodes


def _row(name: str, seconds: float, *, profile: bool, stem_in_float: bool) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        artifact = export_network(
            load_network(find_card(name), "random", seed=0), ExportSettings(), Path(folder) / "fp32.onnx"
        )
        model = read_onnx(artifact.path)
        pool_globally(model)
        images = np.stack([prepare(image, artifact.spec) for image in builtin_images()])
        histograms = calibrate(model, [images], len(images), threads=1).histograms
        ranges = {key: choose_range(histogram, "minmax") for key, histogram in histograms.items()}
        placed = place_qdq(model, ranges, Scheme(), _stem(model) if stem_in_float else ())
        quantised = save_artifact(placed, artifact.spec, Path(folder) / "int8.onnx")
        options = EngineOptions(threads=1)
        with (
            open_engine("ort", artifact, options) as before,
            open_engine("ort", quantised, options) as after,
        ):
            found = compare_speed(
                lambda: before.run(images[:1]), lambda: after.run(images[:1]), seconds=seconds
            )
        asked = REQUIRED.get(name, 1.0)
        share = int8_mac_share(placed, macs_by_node(model))
        print(
            f"| {name} | {found.reference_ms:.2f} | {found.ms:.2f} | {found.ratio:.2f} "
            f"({found.spread[0]:.2f} to {found.spread[1]:.2f}) | {asked} | {share:.0f} % |",
            flush=True,
        )
        if profile:
            for each in (artifact, quantised):
                _print_profile(each, images[:1])
        return found.ratio >= asked


def _print_profile(artifact: Artifact, image: np.ndarray, runs: int = 30) -> None:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.enable_profiling = True
    settings.profile_file_prefix = str(artifact.path.with_suffix(".profile"))
    session = onnxruntime.InferenceSession(str(artifact.path), settings, providers=["CPUExecutionProvider"])
    for _ in range(runs):
        session.run(None, {artifact.spec.input.name: image})
    events = json.loads(Path(session.end_profiling()).read_text())
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    parts = [f"{name} {microseconds / runs / 1e3:.2f}" for name, microseconds in spent.most_common(8)]
    print(f"  {artifact.path.stem}, ms by operator: {', '.join(parts)}")


if __name__ == "__main__":
    sys.exit(main())

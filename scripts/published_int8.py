#!/usr/bin/env python3
"""Our int8 MobileNetV2 against a published one: accuracy on both evaluation sets, and speed in ONNX Runtime.

    python scripts/published_int8.py OURS.int8.onnx --data FOLDER

FOLDER is what EDGECNN_DATA names; the published file is its onnx/mobilenetv2-12-int8.onnx, made by ONNX
Runtime's authors. OURS is what `edgecnn quantize` made of weights/mobilenet_v2.pth. Speed is one image, one
thread, in turns: the published file's time over ours, with the 10th and 90th percentile of the pairs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from edgecnn.artifact import open_artifact
from edgecnn.engines import EngineOptions, open_engine
from edgecnn.environment import describe_environment
from edgecnn.foreign import adopt
from edgecnn.timing.speed import compare_speed


def main() -> None:
    arguments = _arguments()
    published = arguments.data / "onnx" / "mobilenetv2-12-int8.onnx"
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.cores} cores, {', '.join(environment.instruction_sets or ())}")
    print(f"onnxruntime {environment.versions['onnxruntime']}\n")
    print("| images | published top-1 % | ours | flips +/- | McNemar p |\n| --- | --- | --- | --- | --- |")
    for images in ("eval", "eval_flickr"):
        print(_accuracy(arguments.ours, published, arguments.data / "imagenet" / images), flush=True)
    print(f"\nOurs is {_speed(arguments.ours, published)} times as fast.")


def _accuracy(ours: Path, published: Path, images: Path) -> str:
    pair = ("--reference", str(published), "--spec", "mobilenet_v2", "--data", str(images))
    command = [sys.executable, "-m", "edgecnn", "validate", str(ours), *pair, "--json", "-q"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    reference, found = (each["accuracy"] for each in json.loads(done.stdout)["results"])
    flips = f"+{found['flips']['gained']} / -{found['flips']['lost']}"
    return (
        f"| {images.name} ({found['n']}) | {reference['top1']:.2f} | {found['top1']:.2f} | {flips} "
        f"| {found['mcnemar_p']:.2f} |"
    )


def _speed(ours: Path, published: Path) -> str:
    options = EngineOptions(threads=1)
    batch = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    with (
        open_engine("ort", adopt(published, "mobilenet_v2"), options) as before,
        open_engine("ort", open_artifact(ours), options) as after,
    ):
        found = compare_speed(lambda: before.run(batch), lambda: after.run(batch), seconds=10)
    return f"{found.ratio:.2f} ({found.spread[0]:.2f} to {found.spread[1]:.2f})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ours", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()

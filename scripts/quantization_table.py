#!/usr/bin/env python3
"""The README's int8 table: float, ONNX Runtime's naive static int8, NNCF's default and ours, side by side.

    python scripts/quantization_table.py --data FOLDER [--checkpoint NETWORK=FILE=DATA ...] [--only NAME ...]

FOLDER is what EDGECNN_DATA names. All variants of a network are validated in one pass over the same images
and timed in turns in the same process: latency ratios are the float model's median time over the variant's,
round by round, with the 10th and 90th percentile. "Naive" is onnxruntime.quantization.quantize_static after
its quant_pre_process: QDQ, uint8 activations, int8 weights per channel, MinMax, the same calibration images.
NNCF's file, made for OpenVINO, is run in ONNX Runtime as the others are. The last column sets each of them
against ours on the same images: how many it has right that ours has wrong, and the reverse, and how probable
such a difference is between two that are equally good (McNemar's exact test).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgecnn.artifact import Artifact, open_artifact, read_onnx, save_artifact
from edgecnn.data import LabelledImages, open_source, subset
from edgecnn.engines import EngineOptions, open_engine
from edgecnn.environment import describe_environment
from edgecnn.preprocess import prepare
from edgecnn.timing.speed import compare_speed

CALIBRATION_IMAGES = 300


@dataclass(frozen=True)
class Job:
    """One trained network: its weights, calibration images and evaluation images."""

    name: str
    network: str
    weights: Path
    calibration: Path
    evaluation: Path


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds calibration images to ONNX Runtime's calibrator one at a time."""

    def __init__(self, artifact: Artifact, source: LabelledImages) -> None:
        self._name = artifact.spec.input.name
        self._images = (prepare(source.image(at), artifact.spec)[np.newaxis] for at in range(len(source)))

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        image = next(self._images, None)
        return None if image is None else {self._name: image}


def main() -> None:
    arguments = _arguments()
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.cores} cores, {', '.join(environment.instruction_sets or ())}")
    print(", ".join(f"{name} {version}" for name, version in environment.versions.items()), "\n")
    print("| network | variant | top-1 % | flips +/- | agree % | speed in ort | size MB | against ours (p) |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for job in _jobs(arguments):
        if not arguments.only or job.name in arguments.only:
            with tempfile.TemporaryDirectory() as folder:
                for row in _rows(job, Path(folder)):
                    print(row, flush=True)


def _rows(job: Job, folder: Path) -> Iterator[str]:
    float_path = folder / "fp32.onnx"
    _edgecnn("export", job.network, "--weights", job.weights, "-o", float_path)
    artifact = open_artifact(float_path)
    calibration = subset(open_source(str(job.calibration), split="train"), CALIBRATION_IMAGES)
    paths = {"fp32": float_path, "ORT naive": _naive(artifact, calibration, folder)}
    paths["NNCF default"] = folder / "nncf.onnx"
    shared = (float_path, "--calib", job.calibration, "--images", CALIBRATION_IMAGES)
    _edgecnn(
        "quantize",
        *shared,
        "--target",
        "openvino",
        "--recipe",
        "nncf",
        "-o",
        paths["NNCF default"],
        may_fail=True,
    )
    paths["ours, auto"] = folder / "ours.onnx"
    _edgecnn("quantize", *shared, "-o", paths["ours, auto"], may_fail=True)
    accuracy, against = _accuracy(paths, job.evaluation), _against_ours(paths, job.evaluation)
    for name, path in paths.items():
        cells = (job.name, name, accuracy[name], _speed(paths["fp32"], path))
        yield f"| {' | '.join(cells)} | {path.stat().st_size / 1e6:.1f} | {against.get(name, '-')} |"


def _naive(artifact: Artifact, calibration: LabelledImages, folder: Path) -> Path:
    prepared, path = folder / "prepared.onnx", folder / "naive.onnx"
    quant_pre_process(str(artifact.path), str(prepared))
    quantize_static(
        str(prepared),
        str(path),
        Reader(artifact, calibration),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    save_artifact(read_onnx(path), artifact.spec, path)
    return path


def _accuracy(paths: dict[str, Path], data: Path) -> dict[str, str]:
    """Cells of the table, from one pass."""
    others = [path for name, path in paths.items() if name != "fp32"]
    text = _edgecnn("validate", *others, "--reference", paths["fp32"], "--data", data, "--json", "-q")
    cells = {}
    for (name, _), result in zip(paths.items(), json.loads(text)["results"], strict=True):
        found = result["accuracy"]
        flips = found.get("flips")
        changes = f"+{flips['gained']} / -{flips['lost']} | {found['agreement']:.1f}" if flips else "- | -"
        cells[name] = f"{found['top1']:.2f} | {changes}"
    return cells


def _against_ours(paths: dict[str, Path], data: Path) -> dict[str, str]:
    """Cells of the table for the other int8 files."""
    rivals = {name: path for name, path in paths.items() if name in ("ORT naive", "NNCF default")}
    ours = paths["ours, auto"]
    text = _edgecnn("validate", *rivals.values(), "--reference", ours, "--data", data, "--json", "-q")
    results = [each for each in json.loads(text)["results"] if each["accuracy"].get("flips")]
    cells = {}
    for name, result in zip(rivals, results, strict=True):
        found = result["accuracy"]
        gained, lost = found["flips"]["gained"], found["flips"]["lost"]
        cells[name] = f"+{gained} / -{lost} ({found['mcnemar_p']:.2f})"
    return cells


def _speed(reference: Path, path: Path) -> str:
    if path == reference:
        return "1"
    artifacts = open_artifact(reference), open_artifact(path)
    options = EngineOptions(threads=1)
    with (
        open_engine("ort", artifacts[0], options) as before,
        open_engine("ort", artifacts[1], options) as after,
    ):
        size = [side for side in artifacts[0].spec.input.shape[1:] if isinstance(side, int)]
        batch = np.random.default_rng(0).standard_normal((1, *size)).astype(np.float32)
        found = compare_speed(lambda: before.run(batch), lambda: after.run(batch), seconds=4)
    return f"{found.ratio:.2f} ({found.spread[0]:.2f} to {found.spread[1]:.2f})"


def _edgecnn(*arguments: object, may_fail: bool = False) -> str:
    command = [sys.executable, "-m", "edgecnn", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in ({0, 3} if may_fail else {0}):
        sys.exit(done.stderr)
    return done.stdout


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    data: Path = arguments.data
    imagenet, cifar = data / "imagenet", data / "cifar10" / "cifar10_subset.npz"
    jobs = [
        Job(name, name, data / "weights" / f"{name}.pth", imagenet / "calib", imagenet / "eval")
        for name in ("mobilenet_v2", "squeezenet1_1", "squeezenet1_0")
    ]
    jobs += [
        Job(f"cifar_{name}", f"cifar_{name}", data / "weights_cifar10" / f"{name}.pth", cifar, cifar)
        for name in ("resnet20", "resnet56")
    ]
    for text in arguments.checkpoint:
        network, weights, images = text.split("=")
        jobs.append(
            Job(f"{network} ({Path(images).stem})", network, Path(weights), Path(images), Path(images))
        )
    return jobs


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", action="append", default=[], metavar="NETWORK=FILE=DATA")
    parser.add_argument("--only", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()

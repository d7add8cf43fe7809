#!/usr/bin/env python3
"""The README's accuracy table: every real weight file, exported, on every labelled set, in torch and ort.

Usage: .venv/bin/python scripts/accuracy_table.py --data FOLDER   (what EDGECNN_DATA names)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGENET = ("mobilenet_v2", "squeezenet1_1", "squeezenet1_0")
CIFAR = {"cifar_resnet20": "resnet20", "cifar_resnet56": "resnet56"}


def _edgecnn(*arguments: object) -> str:
    command = [sys.executable, "-m", "edgecnn", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _rows(model: Path, data: Path) -> list[str]:
    """One line per engine: correct answers and per cent with the 95 % interval."""
    text = _edgecnn("validate", model, "--data", data, "--engine", "torch", "--engine", "ort", "--json", "-q")
    lines = []
    for result in json.loads(text)["results"]:
        accuracy = result["accuracy"]
        low, high = accuracy["top1_ci95"]
        lines.append(
            f"| {model.stem} | {data.stem} | {result['variant']['engine']} | {accuracy['n']} "
            f"| {accuracy['top1']:.2f} ({low:.1f} to {high:.1f}) | {accuracy['top5']:.2f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    jobs = [
        (name, data / "weights" / f"{name}.pth", data / "imagenet" / images)
        for name in IMAGENET
        for images in ("eval", "eval_flickr")
    ]
    jobs += [
        (name, data / "weights_cifar10" / f"{file}.pth", data / "cifar10" / "cifar10_subset.npz")
        for name, file in CIFAR.items()
    ]
    print("| network | images | engine | n | top-1 % (95 % interval) | top-5 % |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, weights, images in jobs:
            model = Path(folder) / f"{name}.onnx"
            if not model.exists():
                _edgecnn("export", name, "--weights", weights, "-o", model, "-q")
            print("\n".join(_rows(model, images)), flush=True)


if __name__ == "__main__":
    main()

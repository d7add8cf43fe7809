#!/usr/bin/env python3
"""Peak memory of calibrating on few and on many images, each in a process of its own.

    python scripts/bench_calibration.py [--network efficientnet_b0] [--few 16] [--many 512]

Random weights, random images of ImageNet's size, one thread: what counts is that memory does not grow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

LIMIT = 1.5


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="efficientnet_b0")
    parser.add_argument("--few", type=int, default=16)
    parser.add_argument("--many", type=int, default=512)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.onnx"
        _run("export", arguments.network, "--weights", "random", "-o", model)
        _write_images(folder / "images", 2 * arguments.many)
        few, many = (_peak_mb(model, folder, count) for count in (arguments.few, arguments.many))
    ratio = many / few
    print(
        f"{arguments.network}: peak {few:.0f} MB with {arguments.few} images, {many:.0f} MB with "
        f"{arguments.many}: {ratio:.2f} times (limit {LIMIT})"
    )
    return 0 if ratio <= LIMIT else 1


def _write_images(folder: Path, count: int) -> None:
    """Smooth random pictures in two classes."""
    random = np.random.default_rng(0)
    names = ["n01440764", "n01443537"]
    for at in range(count):
        path = folder / names[at % 2] / f"{at}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((256, 256), Image.Resampling.BICUBIC).save(path)


def _peak_mb(model: Path, folder: Path, count: int) -> float:
    """Of a process that calibrates on ``count`` images (half of twice as many sets the ranges)."""
    code = (
        "import resource, sys\n"
        "from edgecnn.cli import main\n"
        "try:\n    main(sys.argv[1:], standalone_mode=False)\n"
        "except Exception as error:\n    print(error, file=sys.stderr)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    arguments = ["quantize", str(model), "--calib", str(folder / "images"), "--images", str(2 * count)]
    arguments += ["--recipe", "minmax", "--threads", "1", "-q", "-o", str(folder / f"{count}.onnx")]
    classes = folder / "classes.csv"
    classes.write_text("index,wnid,name\n0,n01440764,tench\n1,n01443537,goldfish\n")
    arguments += ["--classes", str(classes)]
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        return float(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        sys.exit(done.stderr)


def _run(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "edgecnn", *map(str, arguments)], check=True)


if __name__ == "__main__":
    sys.exit(main())

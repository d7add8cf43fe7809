#!/usr/bin/env python3
"""The README's comparison of networks, engines and precisions, by `edgecnn compare`, on CIFAR-10.

    python scripts/comparison_table.py --data FOLDER --weights FOLDER [-o DIR]

The first FOLDER is what EDGECNN_DATA names. The second holds NETWORK.pth for each network; what is missing is
trained first, by `edgecnn train` with the settings below: briefly, so that the networks are good enough to
be compared with their own quantised forms, and not with each other's published accuracy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from edgecnn.environment import describe_environment

#: Network -> what `edgecnn train` is told: fine-tuned from ImageNet's weights where there are some.
TRAINING = {
    "mobilenet_v2": "--weights {weights}/mobilenet_v2.pth --size 64 --epochs 3",
    "mobilenet_v3_small": "--weights random --size 64 --optimizer sgd --epochs 30",
    "efficientnet_b0": "--weights random --size 64 --lr 0.002 --epochs 14",
    "shufflenet_v2_x0_5": "--weights random --size 64 --optimizer sgd --epochs 20",
    "squeezenet1_1": "--weights {weights}/squeezenet1_1.pth --size 64 --epochs 3",
    "resnet18": "--weights random --size 32 --optimizer sgd --epochs 12",
}

CALIBRATION_IMAGES = 300


def main() -> int:
    arguments = _arguments()
    images = arguments.data / "cifar10" / "cifar10_subset.npz"
    arguments.weights.mkdir(parents=True, exist_ok=True)
    for network, told in TRAINING.items():
        path = arguments.weights / f"{network}.pth"
        if not path.is_file():
            settings = told.format(weights=arguments.data / "weights").split()
            _edgecnn("train", network, "--data", images, *settings, "-o", path)
    done = _edgecnn(
        "compare",
        *TRAINING,
        *("--weights", arguments.weights, "--data", images, "--images", CALIBRATION_IMAGES),
        *("--engine", "torch,ort,openvino", "--precision", "fp32,bf16,int8"),
        *("--threads", arguments.threads, "--duration", arguments.duration, "-o", arguments.output),
        may_fail=True,
    )
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.cores} cores, {', '.join(environment.instruction_sets or ())}")
    print(", ".join(f"{name} {version}" for name, version in environment.versions.items()), "\n")
    print((arguments.output / "results.md").read_text(encoding="utf-8"))
    return done


def _edgecnn(*arguments: object, may_fail: bool = False) -> int:
    done = subprocess.run([sys.executable, "-m", "edgecnn", *map(str, arguments)], check=False)
    if done.returncode and not may_fail:
        sys.exit(done.returncode)
    return done.returncode


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--duration", type=float, default=3.0)
    parser.add_argument("-o", "--output", type=Path, default=Path("comparison"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

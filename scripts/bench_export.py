#!/usr/bin/env python3
"""What verifying costs: ``edgecnn export`` against a bare ``torch.onnx.export`` plus one ORT session.

Fresh processes, in turn, A B A B ...; prints each figure's median and range, and the ratio pair by pair.
Usage: .venv/bin/python scripts/bench_export.py [--network mobilenet_v2] [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgecnn.environment import describe_environment

BARE = """
import torch, torchvision, onnxruntime
model = torchvision.models.{network}(weights=None).eval()
torch.onnx.export(
    model, (torch.randn(2, 3, 224, 224),), "{path}", dynamo=True, opset_version=18, external_data=False,
    input_names=["input"], output_names=["logits"], dynamic_shapes=({{0: torch.export.Dim("batch")}},),
)
session = onnxruntime.InferenceSession("{path}", providers=["CPUExecutionProvider"])
session.run(None, {{"input": torch.randn(1, 3, 224, 224).numpy()}})
"""


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def _row(name: str, values: list[float], unit: str) -> str:
    low, high = min(values), max(values)
    return f"{name:<34} median {statistics.median(values):6.2f} {unit}   range {low:.2f} to {high:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        edgecnn = [sys.executable, "-m", "edgecnn", "export", options.network, "--weights", "random"]
        script = BARE.format(network=options.network, path=path)
        _seconds([sys.executable, "-c", script])  # warm the file cache
        for _ in range(options.runs):
            ours.append(_seconds([*edgecnn, "-o", str(path)]))
            bare.append(_seconds([sys.executable, "-c", script]))
    print(describe_environment())
    print(_row("edgecnn export (checked, compared)", ours, "s"))
    print(_row("torch.onnx.export + one session", bare, "s"))
    print(_row("ratio", [a / b for a, b in zip(ours, bare, strict=True)], " "))


if __name__ == "__main__":
    main()

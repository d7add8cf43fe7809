"""A tiny network and images that it has all right, and how ``edgecnn quantize`` is run on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgecnn.artifact import open_artifact
from edgecnn.cli import main
from edgecnn.engines import open_engine
from edgecnn.preprocess import prepare
from edgecnn.quantize import static_int8
from edgecnn.quantize.ranges import Range
from edgecnn.reports.result import ResultFile
from edgecnn.reports.result_file import decode_results
from edgecnn.spec import Preprocess
from edgecnn.timing.speed import SpeedRatio

GraphOf = Callable[..., onnx.ModelProto]

SIDE = 12
CLASSES = tuple(f"class {index}" for index in range(4))
NODES = """a = Conv<pads=[1, 1, 1, 1]>(x, w1, b1) r = Relu(a) c = Conv<pads=[1, 1, 1, 1]>(r, w2, b1)
    s = Add(r, c) t = Relu(s) p = GlobalAveragePool(t) f = Flatten(p) y = Gemm<transB=1>(f, dense, b2)"""
PREPROCESS = Preprocess(resize=None, crop=(SIDE, SIDE), mean=(0.5,) * 3, std=(0.25,) * 3)


def weights() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(3)
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "dense": (4, 8), "b1": (8,), "b2": (4,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def speed_of(ratio: float, reach: float = 0.1) -> Callable[..., SpeedRatio]:
    """A comparison whose interval ends that share above and below."""

    def compare(*_: object, **__: object) -> SpeedRatio:
        ci95 = ((1 - reach) * ratio, (1 + reach) * ratio)
        return SpeedRatio(reference_ms=2.0, ms=2.0 / ratio, ratio=ratio, ci95=ci95, spread=(0.1, 10.0))

    return compare


@dataclass(frozen=True)
class Case:
    """A float artifact and images, sorted by what it answers: its top-1 is 100 %."""

    model: Path
    calib: Path
    data: Path


def sorted_images(model: Path, root: Path, count: int, seed: int) -> Path:
    """Plain colours with noise, each in the folder of the class that ``model`` says."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 200, (count, 1, 1, 3))
    pixels = (colours + rng.integers(0, 56, (count, SIDE, SIDE, 3))).astype(np.uint8)
    pictures = [Image.fromarray(each) for each in pixels]
    artifact = open_artifact(model)
    with open_engine("ort", artifact) as engine:
        scores = engine.run(np.stack([prepare(picture, artifact.spec) for picture in pictures]))
    for at, (picture, label) in enumerate(zip(pictures, scores.argmax(axis=1), strict=True)):
        path = root / CLASSES[label] / f"{at:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    return root


def quantize(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["quantize", *map(str, arguments), "--threads", "1"])


def results_of(result: Result) -> ResultFile:
    return decode_results(result.stdout, origin="standard output")


def breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on int8 clips nearly everything."""

    def clipped(*_: object) -> Range:
        return (-0.01, 0.01)

    monkeypatch.setattr(static_int8, "choose_range", clipped)

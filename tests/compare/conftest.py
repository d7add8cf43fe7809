"""Tiny artifacts whose answers are known, images for them, and stubs of what takes long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgecnn.artifact import Artifact, save_artifact
from edgecnn.bench import BenchPlan
from edgecnn.compare import ComparePlan, Subject, artifacts, matrix
from edgecnn.data.arrays import ArrayImages
from edgecnn.engines.choice import parse_choices
from edgecnn.quantize.settings import QuantizeSettings
from edgecnn.reports.result import LatencyMs, Result, Variant
from edgecnn.spec import Precision, Quantization, QuantizationAccuracy
from tests.reader_model import CLASSES, reader_model, reader_spec

MakeArtifact = Callable[..., Artifact]
MakeImages = Callable[..., ArrayImages]
MakePlan = Callable[..., ComparePlan]


def write_artifact(path: Path, network: str, shift: float = 0, precision: Precision = "fp32") -> Artifact:
    return save_artifact(reader_model(shift), reader_spec(network, precision=precision), path)


@pytest.fixture
def artifact(tmp_path: Path) -> MakeArtifact:
    """Writes an artifact that answers what an image states, plus ``shift``."""

    def write(network: str = "reader", shift: float = 0) -> Artifact:
        return write_artifact(tmp_path / f"{network}.onnx", network, shift)

    return write


@pytest.fixture
def images() -> MakeImages:
    """Images of the given labels; image i states stated[i], else its label."""

    def make(
        labels: Sequence[int], stated: Sequence[int] | None = None, classes: Sequence[str] = CLASSES
    ) -> ArrayImages:
        pixels = np.zeros((len(labels), 4, 4, 3), np.uint8)
        pixels[:, 0, 0, 0] = labels if stated is None else stated
        return ArrayImages("tiny", None, tuple(classes), np.array(labels, np.int64), pixels)

    return make


@pytest.fixture
def plan(tmp_path: Path, images: MakeImages) -> MakePlan:
    """A plan for artifacts; engines as the user writes them."""

    def make(*subjects: Artifact | Subject, engines: str = "ort", **more: Any) -> ComparePlan:
        known: dict[str, Any] = {
            "subjects": tuple(
                each if isinstance(each, Subject) else Subject(each.spec.network, each) for each in subjects
            ),
            "engines": parse_choices(engines),
            "precisions": ("fp32", "int8"),
            "folder": tmp_path / "comparison",
            "data": images([1, 2, 3, 4]),
            "calibration": images([5, 6, 7, 8]),
            "memory": False,
            "duration_s": 0.05,
        }
        return ComparePlan(**(known | more))

    return make


@dataclass
class Calls:
    """What the stubs were called with.

    Attributes:
        quantised: (network, settings) of each quantisation.
        measured: the plan of each benchmark.
        wrong: whether what is quantised takes every image for another class.
        accuracy: that a quantised artifact says of itself.
        fail: network or engine -> what its quantisation or benchmark raises.
    """

    quantised: list[tuple[str, QuantizeSettings]] = field(default_factory=list)
    measured: list[BenchPlan] = field(default_factory=list)
    wrong: bool = False
    accuracy: QuantizationAccuracy | None = None
    fail: dict[str, BaseException] = field(default_factory=dict)

    def quantise(
        self, base: Artifact, settings: QuantizeSettings, _sources: object, path: Path, **_observe: object
    ) -> SimpleNamespace:
        self.quantised.append((base.spec.network, settings))
        if error := self.fail.get(base.spec.network):
            raise error
        precision: Precision = "fp16" if settings.recipe == "fp16" else "int8"
        shift = 1 if self.wrong else 0.1
        done = Quantization(
            recipe=settings.recipe, target="ort", scheme="", source_sha256="0", accuracy=self.accuracy
        )
        spec = replace(reader_spec(base.spec.network, precision=precision), quantization=done)
        return SimpleNamespace(artifact=save_artifact(reader_model(shift), spec, path))

    def bench(self, plan: BenchPlan, observe: Callable[[str, float], None]) -> list[Result]:
        self.measured.append(plan)
        observe("Measuring", 0.5)
        return [self._result(each.artifact, each.choice.name, each.batch) for each in plan.variants]

    def _result(self, artifact: Artifact, engine: str, batch: int) -> Result:
        variant = Variant(
            network=artifact.spec.network,
            artifact=str(artifact.path),
            sha256=artifact.sha256(),
            precision=artifact.spec.precision,
            engine=engine,
            batch=batch,
            threads=1,
        )
        error = self.fail.get(f"bench {artifact.spec.network}")
        if error is None:
            return Result(variant=variant, latency_ms=LatencyMs(p50=1.0, p90=1.1))
        if isinstance(error, KeyboardInterrupt):
            raise error
        return Result(variant=variant, error=str(error))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Quantisation and benchmark replaced by stubs that count, and that can fail."""
    found = Calls()
    monkeypatch.setattr(artifacts, "quantize_artifact", found.quantise)
    monkeypatch.setattr(matrix, "run_bench", found.bench)
    return found

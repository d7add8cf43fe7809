"""TensorRT's own builds on an NVIDIA GPU: what without one only a stand-in has answered."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from edgecnn.artifact import Artifact
from edgecnn.cuda_driver import cuda_gpus
from edgecnn.errors import EngineUnavailableError
from edgecnn.plans.build import build_plan, build_wanted, want
from edgecnn.plans.cached import cached_plan
from edgecnn.plans.check import require_usable
from edgecnn.plans.flavour import TRT
from edgecnn.plans.here import look_here
from edgecnn.plans.messages import Progress
from edgecnn.plans.options import BuildOptions
from edgecnn.plans.spec import PlanPrecision
from tests.plans.test_rtx import exported

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.tensorrt,
    pytest.mark.skipif(find_spec("tensorrt") is None, reason="tensorrt is not installed"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        cuda_gpus()
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def network(tmp_path: Path) -> Artifact:
    return exported("cifar_resnet20", tmp_path / "tiny.onnx")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_inspector_tells_the_precision(
    precision: PlanPrecision, network: Artifact, tmp_path: Path
) -> None:
    steps: list[Progress] = []
    plan = build_plan(network, BuildOptions(precision=precision), tmp_path / "x.plan", steps.append)
    assert plan.spec.layers_from == "inspector"
    assert max(plan.spec.layers, key=plan.spec.layers.__getitem__) == precision
    assert plan.spec.compute_capability == cuda_gpus()[0].compute_capability
    assert len(steps) > 10
    require_usable(plan, look_here(TRT))


def test_timings_are_kept_and_taken(network: Artifact, tmp_path: Path) -> None:
    options = BuildOptions(timing_cache=tmp_path / "timings.cache")
    for name in ("a", "b"):
        _, built = build_wanted(want(network, options), tmp_path / f"{name}.plan")
        assert built.warnings == ()
    assert (tmp_path / "timings.cache").stat().st_size > 0


@pytest.mark.parametrize(
    "options",
    [BuildOptions(version_compatible=True), BuildOptions(hardware="same"), BuildOptions(hardware="ampere+")],
)
def test_wider_plans_build(options: BuildOptions, network: Artifact, tmp_path: Path) -> None:
    plan = build_plan(network, options, tmp_path / "x.plan")
    assert plan.spec.layers_from == "inspector"
    require_usable(plan, look_here(TRT))


def test_a_cached_plan_is_built_once(network: Artifact) -> None:
    steps: list[Progress] = []
    first = cached_plan(network, BuildOptions(), steps.append)
    built = len(steps)
    assert cached_plan(network, BuildOptions(), steps.append) == first
    assert len(steps) == built > 0

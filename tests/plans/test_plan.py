"""Plans on the disk: what is read back, and what is not believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from edgecnn.artifact import Artifact, file_sha256, open_artifact, plan_sidecar
from edgecnn.errors import ArtifactError
from edgecnn.plans import Plan, read_plan
from edgecnn.plans.build import build_plan
from edgecnn.plans.cached import cached_plan
from edgecnn.plans.messages import Progress
from edgecnn.plans.options import BuildOptions
from edgecnn.plans.spec import Batches, decode_plan_spec, encode_plan_spec
from tests.plans.test_check import SPEC

Install = Callable[..., ModuleType]


@pytest.fixture
def plan(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> Plan:
    fake_tensorrt()
    return build_plan(tiny, BuildOptions(), tmp_path / "tiny.plan")


def test_the_spec_survives_the_disk() -> None:
    assert decode_plan_spec(encode_plan_spec(SPEC), origin=Path("x.plan")) == SPEC


def test_an_artifact_of_a_plan(plan: Plan) -> None:
    artifact = open_artifact(plan.path)
    assert artifact.files() == (plan.path, plan_sidecar(plan.path))
    assert artifact.size_bytes() == plan.path.stat().st_size
    assert artifact.sha256() == file_sha256(plan.path, plan_sidecar(plan.path))


def _refused(plan: Plan, words: str) -> None:
    for read in (open_artifact, read_plan):
        with pytest.raises(ArtifactError, match=words) as caught:
            read(plan.path)
        assert "edgecnn" in caught.value.remedy


def test_a_missing_plan(plan: Plan) -> None:
    plan.path.unlink()
    _refused(plan, "no such model file")


def test_a_plan_alone(plan: Plan) -> None:
    plan_sidecar(plan.path).unlink()
    _refused(plan, r"has no readable tiny\.plan\.json beside it")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema": 1}', b'{"schema": "edgecnn.plan/1"}']
)
def test_a_sidecar_that_is_none(content: bytes, plan: Plan) -> None:
    plan_sidecar(plan.path).write_bytes(content)
    _refused(plan, r"tiny\.plan\.json cannot be read")


def test_a_sidecar_of_another_version(plan: Plan) -> None:
    plan_sidecar(plan.path).write_text(json.dumps({"schema": "edgecnn.plan/2", "plan": {}}))
    _refused(plan, r"is 'edgecnn\.plan/2', and this edgecnn reads 'edgecnn\.plan/1'")


def test_a_sidecar_that_lacks_something(plan: Plan) -> None:
    sidecar = plan_sidecar(plan.path)
    known = json.loads(sidecar.read_bytes())
    del known["plan"]["flavour"]
    sidecar.write_text(json.dumps(known))
    assert open_artifact(plan.path).spec == plan.spec.model
    with pytest.raises(ArtifactError, match="flavour"):
        read_plan(plan.path)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_plan_that_is_cut_short(keep: int, plan: Plan) -> None:
    plan.path.write_bytes(plan.path.read_bytes()[:keep])
    _refused(plan, "cut short")


def test_a_plan_with_a_flipped_bit_is_not_given_out(plan: Plan) -> None:
    content = bytearray(plan.path.read_bytes())
    content[len(content) // 2] ^= 1
    plan.path.write_bytes(content)
    with pytest.raises(ArtifactError, match="is damaged"):
        read_plan(plan.path).content()
    plan.path.unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        plan.content()


def _steps(artifact: Artifact, options: BuildOptions) -> tuple[Plan, int]:
    steps: list[Progress] = []
    plan = cached_plan(artifact, options, steps.append)
    return plan, len(steps)


def test_a_cached_plan_is_built_once(tiny: Artifact, fake_tensorrt: Install, tmp_path: Path) -> None:
    fake_tensorrt()
    first, built = _steps(tiny, BuildOptions())
    assert built
    assert first.path.is_relative_to(tmp_path / "cache" / "plans")
    assert _steps(tiny, BuildOptions(precision="fp32", device=0)) == (first, 0)
    other, built = _steps(tiny, BuildOptions(batches=Batches(min=1, opt=1, max=1)))
    assert built
    assert other.path != first.path


@pytest.mark.slow
def test_another_gpu_or_model_gets_a_plan_of_its_own(
    tiny: Artifact, fake_tensorrt: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt()
    first, _ = _steps(tiny, BuildOptions())
    from edgecnn.cuda_driver import Gpu

    monkeypatch.setattr("edgecnn.plans.here.cuda_gpus", lambda: (Gpu("NVIDIA Test 2", "9.0"),))
    second, built = _steps(tiny, BuildOptions())
    assert built
    assert second.path != first.path
    import onnx

    model = onnx.load(tiny.path)
    model.doc_string = "another"
    onnx.save(model, tiny.path)
    third, built = _steps(tiny, BuildOptions())
    assert built
    assert third.path not in (first.path, second.path)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["plan", "sidecar"])
def test_a_damaged_cache_is_built_again(damage: str, tiny: Artifact, fake_tensorrt: Install) -> None:
    fake_tensorrt()
    first, _ = _steps(tiny, BuildOptions())
    path = first.path if damage == "plan" else plan_sidecar(first.path)
    content = bytearray(path.read_bytes())
    content[5] ^= 0xFF
    path.write_bytes(content)
    again, built = _steps(tiny, BuildOptions())
    assert built
    assert again.content()

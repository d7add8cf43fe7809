"""A machine that pretends to have a GPU and TensorRT, and a plan for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import Artifact, open_artifact, plan_sidecar
from edgecnn.cuda_driver import Gpu
from edgecnn.engines import plan_engine
from edgecnn.engines.cuda.fake import FakeCuda
from edgecnn.engines.plan_fake import FakePlan, FakeTensorRt
from edgecnn.plans.here import this_os
from edgecnn.plans.spec import Batches, PlanSpec, encode_plan_spec
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

GPU = Gpu("Fake GPU", "9.0")

Machine = Callable[..., FakeTensorRt]
MakePlan = Callable[..., Artifact]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make this machine one with a GPU and TensorRT; what is given goes to the fakes."""

    def make(*, fail_at: int | None = None, memory_bytes: int = 1 << 30, **trt: Any) -> FakeTensorRt:
        cuda = FakeCuda(fail_at=fail_at, memory_bytes=memory_bytes, devices=2)
        fake = FakeTensorRt(cuda, **trt)
        monkeypatch.setattr(plan_engine, "load", lambda flavour: fake)
        monkeypatch.setattr(plan_engine, "cuda_gpus", lambda: (GPU, GPU))
        monkeypatch.setattr(plan_engine, "open_cuda", lambda extra: cuda)
        return fake

    return make


@pytest.fixture
def spec() -> ModelSpec:
    """(batch, 1, 4, 4) float32 to three classes."""
    return ModelSpec(
        network="tiny",
        classes=("a", "b", "c"),
        input=TensorSpec(name="input", dtype="float32", shape=("batch", 1, 4, 4)),
        output=TensorSpec(name="logits", dtype="float32", shape=("batch", 3)),
        preprocess=Preprocess(resize=None, crop=(4, 4), color="L", mean=(0.5,), std=(0.5,)),
        weights=WeightsId(kind="unknown", name="tiny.onnx"),
    )


@pytest.fixture
def make_plan(tmp_path: Path, spec: ModelSpec) -> MakePlan:
    """Write a plan of ``spec`` for batches of 1 to 8, but for what is given."""

    def make(fake: FakePlan | None = None, name: str = "tiny.plan", **facts: Any) -> Artifact:
        content = (fake or FakePlan.of(spec, 1, 8)).encode()
        path = tmp_path / name
        path.write_bytes(content)
        plan: dict[str, Any] = {
            "model": spec,
            "onnx_sha256": "0" * 64,
            "plan_sha256": hashlib.sha256(content).hexdigest(),
            "plan_bytes": len(content),
            "flavour": "trt",
            "tensorrt_version": "11.4.0",
            "gpu": GPU.name,
            "compute_capability": GPU.compute_capability,
            "os": this_os(),
            "precision": "fp32",
            "batches": Batches(min=1, opt=4, max=8),
            "options_digest": "0" * 64,
            "log_sha256": "0" * 64,
            "network_layers": {"fp32": 1},
            "layers": {"fp32": 1},
            "layers_from": "inspector",
            "build_seconds": 1.0,
            "edgecnn_version": "0",
        }
        plan_sidecar(path).write_bytes(encode_plan_spec(PlanSpec(**plan | facts)))
        return open_artifact(path)

    return make

"""Which plans run where, and what is said of those that do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecnn.errors import EngineUnavailableError
from edgecnn.plans.check import rebuild_command, require_usable
from edgecnn.plans.here import Here
from edgecnn.plans.plan import Plan
from edgecnn.plans.spec import Batches, PlanSpec
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

MODEL = ModelSpec(
    network="tiny",
    classes=("a", "b"),
    input=TensorSpec(name="x", dtype="float32", shape=("batch", 3, 8, 8)),
    output=TensorSpec(name="y", dtype="float32", shape=("batch", 2)),
    preprocess=Preprocess(resize=None, crop=(8, 8)),
    weights=WeightsId(kind="unknown", name="none"),
)
SPEC = PlanSpec(
    model=MODEL,
    onnx_sha256="ab" * 32,
    plan_sha256="cd" * 32,
    plan_bytes=10,
    flavour="trt",
    tensorrt_version="10.13.3.9",
    gpu="NVIDIA H200",
    compute_capability="9.0",
    os="Linux x86_64",
    precision="fp16",
    batches=Batches(min=1, opt=8, max=32),
    options_digest="0",
    log_sha256="0",
    network_layers={"fp16": 2},
    layers={"fp16": 2},
    layers_from="inspector",
    build_seconds=1.0,
    edgecnn_version="0.1.0",
)
HERE = Here(
    flavour="trt",
    tensorrt_version="10.13.3.9",
    gpu="NVIDIA H200",
    compute_capability="9.0",
    os="Linux x86_64",
)
AHEAD = {"flavour": "trt-rtx", "gpu": None, "compute_capability": None, "tensorrt_version": "1.7.1.116"}
RTX = {"flavour": "trt-rtx", "tensorrt_version": "1.7.1.116"}
H100, ADA = {"gpu": "NVIDIA H100"}, {"gpu": "NVIDIA L4", "compute_capability": "8.9"}
TURING, NONE = {"gpu": "T4", "compute_capability": "7.5"}, {"gpu": None, "compute_capability": None}

FITS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"hardware": "same"}, H100),
    ({"hardware": "ampere+"}, ADA),
    ({"version_compatible": True}, {"tensorrt_version": "10.16.1.11"}),
    (AHEAD, RTX),
    (AHEAD, RTX | ADA),
    (AHEAD | {"capabilities": ("8.9", "12.0")}, RTX | ADA),
]
DOES_NOT: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {},
        H100,
        r"built on NVIDIA H200 \(compute capability 9.0\), and this is NVIDIA H100 \(compute capability 9.0",
    ),
    ({}, ADA, r"NVIDIA H200 .* NVIDIA L4 \(compute capability 8\.9\)"),
    ({"hardware": "same"}, ADA, r"for compute capability 9\.0, and this is NVIDIA L4"),
    ({"hardware": "ampere+"}, TURING, r"of compute capability 8\.0 and later, and this is T4"),
    ({}, NONE, "a machine without a GPU"),
    ({}, {"tensorrt_version": "10.13.3.8"}, r"TensorRT 10\.13\.3\.9, and this is 10\.13\.3\.8"),
    ({"version_compatible": True}, {"tensorrt_version": "10.3.0"}, r"this is 10\.3\.0"),
    ({"version_compatible": True}, {"tensorrt_version": "11.4.0"}, r"this is 11\.4\.0"),
    ({}, {"os": "Windows AMD64"}, "built on Linux x86_64, and this is Windows AMD64"),
    ({}, RTX, "built by TensorRT, and TensorRT for RTX would open it"),
    (AHEAD, RTX | NONE, "ahead of time for RTX GPUs, and this is a machine without a GPU"),
    (AHEAD | {"capabilities": ("8.9",)}, RTX, r"ahead of time for 8\.9, and this is NVIDIA H200"),
]


def _plan(changes: dict[str, Any]) -> Plan:
    return Plan(Path("m.plan"), replace(SPEC, **changes))


@pytest.mark.parametrize(("plan", "here"), FITS)
def test_it_runs_where_it_fits(plan: dict[str, Any], here: dict[str, Any]) -> None:
    require_usable(_plan(plan), replace(HERE, **here))


@pytest.mark.parametrize(("plan", "here", "words"), DOES_NOT)
def test_both_sides_and_the_way_out_are_named(plan: dict[str, Any], here: dict[str, Any], words: str) -> None:
    with pytest.raises(EngineUnavailableError, match=words) as caught:
        require_usable(_plan(plan), replace(HERE, **here))
    assert "m.plan does not run here" in caught.value.problem
    assert "edgecnn build MODEL.onnx --engine" in caught.value.remedy
    assert "abababab" in caught.value.remedy


def test_the_command_asks_for_all_that_was_asked_for() -> None:
    assert rebuild_command(replace(SPEC, version_compatible=True, hardware="ampere+")) == (
        "edgecnn build MODEL.onnx --engine trt --precision fp16 --batch 1,8,32 --version-compatible "
        "--hardware ampere+"
    )

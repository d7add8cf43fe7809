"""What is written beside a plan, and read before it is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from edgecnn.artifact import PLAN_FORM, plan_sidecar
from edgecnn.spec import ModelSpec

__all__ = ["Batches", "Hardware", "PlanPrecision", "PlanSpec", "decode_plan_spec", "encode_plan_spec"]

PlanPrecision = Literal["fp32", "fp16", "int8"]
Hardware = Literal["this", "same", "ampere+"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """The optimisation profile: batch sizes that a plan takes, and the one that it is tuned for."""

    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max:
            raise ValueError(f"an optimisation profile needs 1 <= min <= opt <= max, not {self}")

    def __str__(self) -> str:
        return f"{self.min}..{self.max}, best at {self.opt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSpec:
    """What a plan is, where it runs, and how it was made.

    Attributes:
        model: of the ONNX model, with the plan's precision.
        onnx_sha256: hash of the artifact that it was built from, before any conversion.
        plan_sha256: of the plan itself.
        plan_bytes: its size.
        flavour: "trt" or "trt-rtx".
        tensorrt_version: that built it, and that can open it.
        gpu: name of the GPU that it was built on; None where it was built ahead of time.
        compute_capability: of that GPU, "9.0"; None likewise.
        capabilities: the compute capabilities that a plan built ahead of time was asked for; () leaves it to
            TensorRT, which means all that it knows.
        os: system and architecture, "Linux x86_64".
        precision: that it was asked for and has.
        batches: what it takes.
        version_compatible: whether other versions of the same major may open it.
        hardware: "this" GPU model, the "same" compute capability, or Ampere and later ("ampere+").
        options_digest: of all options that decide what the plan is.
        log_sha256: of TensorRT's whole log of the build.
        network_layers: precision -> how many convolutions and matrix products of the parsed, strongly typed
            network have it.
        layers: precision -> how many layers of the built plan have it; {} where it could not be asked.
        layers_from: "inspector" (the opened plan), "build log" (the builder's own list of its layers, without
            a GPU), or "nothing": then it must be compared when the plan is first opened on a GPU.
        build_seconds: wall-clock time of the build.
        edgecnn_version: that wrote this.
    """

    model: ModelSpec
    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    flavour: str
    tensorrt_version: str
    gpu: str | None
    compute_capability: str | None
    capabilities: tuple[str, ...] = ()
    os: str
    precision: PlanPrecision
    batches: Batches
    version_compatible: bool = False
    hardware: Hardware = "this"
    options_digest: str
    log_sha256: str
    network_layers: dict[str, int]
    layers: dict[str, int]
    layers_from: Literal["inspector", "build log", "nothing"]
    build_seconds: float
    edgecnn_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Envelope:
    schema: str
    plan: PlanSpec


def encode_plan_spec(spec: PlanSpec) -> bytes:
    """The indented JSON text of ``spec``, with its version."""
    return msgspec.json.format(msgspec.json.encode(_Envelope(schema=PLAN_FORM.schema, plan=spec)), indent=2)


def decode_plan_spec(text: bytes, *, origin: Path) -> PlanSpec:
    """Read what :func:`encode_plan_spec` wrote.

    Args:
        text: the sidecar's content.
        origin: the plan.

    Raises:
        ArtifactError: it is damaged, of another version, or something is missing.
    """
    return PLAN_FORM.from_json(text, _Envelope, origin=str(plan_sidecar(origin))).plan

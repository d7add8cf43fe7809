"""What a plan is to be, as asked for, and as a model allows."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from edgecnn.artifact import Artifact, is_plan
from edgecnn.errors import ArtifactError, UsageError
from edgecnn.plans.flavour import TRT, Flavour
from edgecnn.plans.spec import Batches, Hardware, PlanPrecision
from edgecnn.spec import ModelSpec

__all__ = ["DEFAULT_BATCHES", "BuildOptions", "profile_of", "settle"]

DEFAULT_BATCHES = Batches(min=1, opt=8, max=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How a plan is built.

    Attributes:
        flavour: what builds it.
        precision: what it computes in; None keeps the model's own.
        batches: the batch sizes that it takes; None for 1 to 32, or a fixed model's own.
        workspace_bytes: the most GPU memory that a layer may use for intermediate results; None leaves it to
            TensorRT (all of the GPU's).
        timing_cache: file of kernel timings to use and add to; None for the one in edgecnn's cache.
        version_compatible: let other versions of the same major open it; the plan then carries host code.
        hardware: "this" GPU model, the "same" compute capability, or Ampere and later ("ampere+").
        device: number of the GPU to build on.
        timeout_s: end the build after so many seconds; None for never.
    """

    flavour: Flavour = TRT
    precision: PlanPrecision | None = None
    batches: Batches | None = None
    workspace_bytes: int | None = None
    timing_cache: Path | None = field(default=None)
    version_compatible: bool = False
    hardware: Hardware = "this"
    device: int = 0
    timeout_s: float | None = None

    def digest(self) -> str:
        """SHA-256 of what decides the plan: all but the timing cache, the GPU's number and the time limit."""
        decisive = replace(self, timing_cache=None, device=0, timeout_s=None)
        return hashlib.sha256(msgspec.json.encode(decisive, order="deterministic")).hexdigest()


def profile_of(batches: Collection[int]) -> Batches:
    """The profile for some batch sizes: from 1 to the largest, tuned for the middle one.

    Of two, it is tuned for the larger; of one, for that.
    """
    ordered = sorted(batches)
    return Batches(min=1, opt=ordered[len(ordered) // 2], max=ordered[-1])


def settle(artifact: Artifact, options: BuildOptions) -> BuildOptions:
    """``options`` with nothing left open, as ``artifact`` and the flavour allow.

    Raises:
        ArtifactError: the model is a plan already, or cannot be had in that precision.
        UsageError: a batch that the fixed model does not take, or an option that the flavour has not.
    """
    if is_plan(artifact.path):
        raise ArtifactError(
            f"{artifact.path} is a plan already.", "Give the ONNX model that it was built from."
        )
    _require_offered(options)
    return replace(
        options,
        precision=_precision(artifact, options.precision),
        batches=_batches(artifact.spec, options.batches),
    )


def _require_offered(options: BuildOptions) -> None:
    """TensorRT for RTX ignores what it has not, or fails late."""
    if not options.flavour.ahead_of_time:
        return
    instead = "Leave the option out, or build with --engine trt on the target."
    if options.version_compatible:
        raise UsageError(
            "TensorRT for RTX has no version-compatible plans: it lacks the lean runtime that they need.",
            instead,
        )
    if options.hardware != "this":
        raise UsageError(
            f"TensorRT for RTX has no --hardware {options.hardware}: its plans are for all RTX GPUs, where "
            "kernels are finished.",
            instead,
        )
    if options.timing_cache is not None:
        raise UsageError(
            "TensorRT for RTX keeps no timing cache: it measures no kernels while it builds.", instead
        )


def _precision(artifact: Artifact, asked: PlanPrecision | None) -> PlanPrecision:
    """What the plan computes in.

    Raises:
        ArtifactError: the model is not, and cannot be made, of that precision.
    """
    own = _own(artifact)
    if asked is None or asked == own:
        return own
    if asked == "fp16" and own == "fp32":
        return asked
    if asked == "int8":
        raise _needs_quantising(artifact, f"{artifact.path} is in {own}")
    raise ArtifactError(
        f"{artifact.path} is in {own}: what was lost on the way to it does not come back in {asked}.",
        f"Give the fp32 model that it was made from, or build it as it is: --precision {own}",
    )


def _own(artifact: Artifact) -> PlanPrecision:
    """What the model computes in.

    Raises:
        ArtifactError: TensorRT has nothing like it.
    """
    spec = artifact.spec
    if spec.precision == "int8" or spec.precision == "mixed":  # noqa: PLR1714 - mypy narrows by ==
        if spec.quantization is None or spec.quantization.target != "trt":
            made = "elsewhere" if spec.quantization is None else f"for {spec.quantization.target}"
            raise _needs_quantising(
                artifact, f"{artifact.path} was quantised {made}, by other rules than TensorRT's"
            )
        return "int8"
    if spec.precision == "bf16":
        raise ArtifactError(
            f"{artifact.path} is in bf16, which edgecnn builds no plans of.", "Give the fp32 model."
        )
    return spec.precision


def _needs_quantising(artifact: Artifact, problem: str) -> ArtifactError:
    name = artifact.path if artifact.spec.quantization is None else "FP32_MODEL.onnx"
    return ArtifactError(
        f"{problem}; an int8 plan needs a model with TensorRT's placement of Q/DQ.",
        f"Make it, then build that: edgecnn quantize {name} --target trt --calib DATA",
    )


def _batches(spec: ModelSpec, asked: Batches | None) -> Batches:
    """The profile that the model's input allows.

    Raises:
        UsageError: the model has a fixed batch, and another was asked for.
    """
    if spec.input.dynamic_batch:
        return asked or DEFAULT_BATCHES
    fixed = int(spec.input.shape[0])
    if asked is not None and asked.max != fixed:
        raise UsageError(
            f"The model takes batches of exactly {fixed}, and batches up to {asked.max} are asked for.",
            "Leave --batch out, or export it with a dynamic batch: "
            f"edgecnn export {spec.network} --batch dynamic",
        )
    return Batches(min=fixed, opt=fixed, max=fixed)

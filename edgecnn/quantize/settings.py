"""What is asked of a quantisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgecnn.environment import Environment
from edgecnn.errors import UsageError

__all__ = [
    "CPUS",
    "RECIPE_NAMES",
    "TARGETS",
    "Cpu",
    "QuantizeSettings",
    "RecipeName",
    "Target",
    "this_cpu",
]

Target = Literal["ort", "openvino", "trt"]
TARGETS: tuple[Target, ...] = get_args(Target)

RecipeName = Literal["auto", "minmax", "percentile", "entropy", "mse", "dynamic", "weights", "fp16", "nncf"]
RECIPE_NAMES: tuple[RecipeName, ...] = get_args(RecipeName)

#: "vnni": x86 with 8-bit dot products; "x86": without, where 8-bit sums saturate; "arm".
Cpu = Literal["vnni", "x86", "arm"]
CPUS: tuple[Cpu, ...] = get_args(Cpu)

_ARM = frozenset({"asimd", "neon"})
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeSettings:
    """How to quantise.

    Attributes:
        target: the engine that the artifact is for.
        recipe: by name.
        max_drop: top-1 that may be lost, in percentage points.
        keep_float: names of nodes that stay in float whatever happens.
        cpu: what the artifact is to run on.
        images: at most so many calibration images are used, evenly spaced; None for all.
        threads: to use while searching; the speed is always measured on one.
    """

    target: Target = "ort"
    recipe: RecipeName = "auto"
    max_drop: float = 0.5
    keep_float: tuple[str, ...] = ()
    cpu: Cpu = "vnni"
    images: int | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.max_drop < 0 or self.threads < 1:
            raise UsageError(
                f"A drop of {self.max_drop} points and {self.threads} threads make no sense.",
                "Give a --max-drop from 0 and --threads from 1.",
            )
        if self.recipe == "nncf" and self.target != "openvino":
            raise UsageError(
                f"The recipe nncf makes files for OpenVINO, not for {self.target}.",
                "Pass --target openvino, or another --recipe: auto measures several.",
            )
        if self.target == "trt" and self.recipe == "dynamic":
            raise UsageError(
                "TensorRT builds no networks whose ranges are found at run time.",
                "Pass --recipe auto, minmax, percentile, entropy, mse, weights or fp16.",
            )


def this_cpu(environment: Environment) -> Cpu:
    """The kind of this machine's CPU; where it is not known, the one whose files are right everywhere."""
    known = set(environment.instruction_sets or ())
    if known & _ARM:
        return "arm"
    return "vnni" if known & _VNNI else "x86"

"""What a plan would meet on this machine: which TensorRT, and which GPU."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from edgecnn.cuda_driver import Gpu, cuda_gpus
from edgecnn.errors import EngineUnavailableError, UsageError
from edgecnn.plans.flavour import Flavour, load

__all__ = ["Here", "look_here", "this_os"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """A place where plans are built or opened.

    Attributes:
        flavour: "trt" or "trt-rtx".
        tensorrt_version: of its package.
        gpu: name of the GPU; None where there is none that works.
        compute_capability: of that GPU, "9.0"; None likewise.
        os: system and architecture.
    """

    flavour: str
    tensorrt_version: str
    gpu: str | None
    compute_capability: str | None
    os: str


def look_here(flavour: Flavour, device: int = 0) -> Here:
    """Look at this machine; TensorRT is imported.

    Args:
        flavour: which TensorRT.
        device: number of the GPU.

    Raises:
        EngineUnavailableError: the package is missing or does not load; for TensorRT, which does nothing
            without one, there is no GPU that works.
        UsageError: there is no GPU of that number.
    """
    version = str(load(flavour).__version__)
    gpu = _gpu(flavour, device)
    return Here(
        flavour=flavour.name,
        tensorrt_version=version,
        gpu=None if gpu is None else gpu.name,
        compute_capability=None if gpu is None else gpu.compute_capability,
        os=this_os(),
    )


def this_os() -> str:
    """System and architecture, "Linux x86_64"."""
    return f"{platform.system()} {platform.machine()}"


def _gpu(flavour: Flavour, device: int) -> Gpu | None:
    try:
        gpus = cuda_gpus()
    except EngineUnavailableError:
        if flavour.ahead_of_time:
            return None
        raise
    if device >= len(gpus):
        raise UsageError(
            f"There is no GPU number {device}: this process may use {len(gpus)}.",
            "Count from 0, and check CUDA_VISIBLE_DEVICES.",
        )
    return gpus[device]

"""What goes over the pipes between a build and the process that does it, a line of JSON each."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgecnn.plans.spec import Batches, Hardware, PlanPrecision

__all__ = ["BuildJob", "Built", "Failed", "Message", "Progress"]


class BuildJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is to build.

    Attributes:
        flavour: name of the flavour.
        onnx: path of the model as TensorRT takes it.
        called: path of the user's model, for messages.
        folder: the build's own, for temporary files; removed when the other side is gone.
        plan: where in it the plan goes.
        precision: what the network must compute in.
        batches: the optimisation profile.
        fixed: whether the model's batch is fixed.
        workspace_bytes: limit of GPU memory for a layer's intermediate results; None for none.
        timing_cache: file to read and add to; None for none.
        version_compatible: see :class:`edgecnn.plans.options.BuildOptions`.
        hardware: likewise.
    """

    flavour: str
    onnx: str
    called: str
    folder: str
    plan: str
    precision: PlanPrecision
    batches: Batches
    fixed: bool = False
    workspace_bytes: int | None = None
    timing_cache: str | None = None
    version_compatible: bool = False
    hardware: Hardware = "this"


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """A step of a phase; phases lie inside others, to several levels.

    Attributes:
        phase: as TensorRT calls it.
        parent: the phase around it; None for the outermost.
        done: steps so far.
        total: steps of the phase.
    """

    phase: str
    parent: str | None
    done: int
    total: int


class Built(msgspec.Struct, frozen=True, kw_only=True, tag="built"):
    """The plan lies where the job said.

    Attributes:
        network_layers: precision -> layers with weights in the parsed network.
        layers: precision -> layers in the plan.
        layers_from: see :class:`edgecnn.plans.spec.PlanSpec`.
        log_sha256: of TensorRT's log.
        warnings: what became of the timing cache, if that was not as it should be.
        complaints: TensorRT's own warnings, each once.
    """

    network_layers: dict[str, int]
    layers: dict[str, int]
    layers_from: Literal["inspector", "build log", "nothing"]
    log_sha256: str
    warnings: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """Why there is no plan.

    Attributes:
        unavailable: whether TensorRT does not work here at all.
        problem: as in :class:`edgecnn.errors.EdgecnnError`.
        remedy: likewise.
    """

    unavailable: bool
    problem: str
    remedy: str


Message = Progress | Built | Failed

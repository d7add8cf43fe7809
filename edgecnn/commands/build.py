"""``edgecnn build``: a TensorRT plan of a model."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from edgecnn.artifact import Artifact
from edgecnn.atomic import require_writable, writing
from edgecnn.commands.build_progress import shown_progress
from edgecnn.commands.console import Column, Terminal, terminal_options
from edgecnn.commands.model_argument import model_options, resolve_model
from edgecnn.commands.parameters import NumbersType
from edgecnn.errors import ArtifactError, UsageError
from edgecnn.plans import Plan, PlanSpec
from edgecnn.plans.build import Wanted, build_wanted, want
from edgecnn.plans.cached import reusable_plan
from edgecnn.plans.flavour import FLAVOURS, Flavour, find_flavour, preferred_flavour
from edgecnn.plans.here import look_here
from edgecnn.plans.options import BuildOptions, profile_of

__all__ = ["build"]

_COLUMNS = (
    Column("plan", number=False),
    Column("MiB"),
    Column("precision", number=False),
    Column("layers", number=False),
    Column("batches", number=False),
    Column("TensorRT", number=False),
    Column("runs on", number=False),
    Column("built in s"),
)


@click.command()
@click.argument("model")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="What it computes in. Default: as the model; fp16 converts an fp32 model, int8 needs one made by "
    "'edgecnn quantize --target trt'.",
)
@click.option(
    "--batch",
    "batches",
    type=NumbersType(),
    help="Batch sizes: it takes 1 to the largest, and is tuned for the middle one. Default: 1,8,32, or a "
    "fixed model's own.",
)
@click.option(
    "--workspace-mb", type=click.IntRange(min=1), metavar="N", help="GPU memory for a layer, in MiB."
)
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F",
    help="Kernel timings to use and add to. Default: a file in edgecnn's cache for each GPU and TensorRT.",
)
@click.option(
    "--version-compatible",
    is_flag=True,
    help="For later minor versions of this TensorRT, too; larger, slower.",
)
@click.option(
    "--hardware",
    type=click.Choice(["same", "ampere+"]),
    help="For all GPUs of the same compute capability, or of Ampere and later. Default: this GPU model.",
)
@click.option(
    "--engine",
    type=click.Choice([*FLAVOURS]),
    help="Which TensorRT. Default: trt, else trt-rtx, as installed.",
)
@click.option("--force", is_flag=True, help="Build even if the file is already this plan.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="F.plan",
    help="Default: MODEL.PRECISION.plan, here.",
)
@model_options
@terminal_options
def build(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401 - click's own
    """Build a TensorRT plan of MODEL, a file or a network's name; what it is goes beside it (F.plan.json).

    A plan runs on the GPU, the system and the TensorRT version that it was built with; the ONNX model is what
    travels: build on the target. TensorRT for RTX builds without a GPU, for all RTX GPUs.

    After the build the layers' precision is compared with what was asked for, and a plan that is something
    else is an error. A file that is already this plan is left as it is.
    """
    flavour = _flavour(options["engine"], terminal)
    look_here(flavour)  # what is missing is said at once, not after an export
    artifact = resolve_model(options["model"], options["model_options"], terminal.note)
    wanted = want(artifact, _build_options(flavour, options))
    path = options["output"] or _default_path(artifact, wanted)
    _require_place(path)
    found = None if options["force"] else reusable_plan(wanted, path)
    if found is not None:
        terminal.note(f"{path} is this plan already; --force builds it again.")
        _print(terminal, found, reused=True)
        return
    with shown_progress(terminal, f"Building {path.name}") as observe, _ended_by_sigterm():
        plan, built = build_wanted(wanted, path, observe)
    for complaint in built.complaints:
        terminal.detail(f"TensorRT: {complaint}")
    for warning in built.warnings:
        terminal.warn(warning)
    if plan.spec.layers_from == "nothing":
        terminal.warn("The plan's layers could not be listed: its precision is what the parsed network has.")
    _print(terminal, plan, reused=False)


def _flavour(name: str | None, terminal: Terminal) -> Flavour:
    if name is not None:
        return find_flavour(name)
    flavour = preferred_flavour()
    terminal.note(f"Building with {flavour.title} (--engine {flavour.name}).")
    return flavour


def _build_options(flavour: Flavour, options: dict[str, Any]) -> BuildOptions:
    batches, workspace = options["batches"], options["workspace_mb"]
    return BuildOptions(
        flavour=flavour,
        precision=options["precision"],
        batches=None if batches is None else profile_of(batches),
        workspace_bytes=None if workspace is None else workspace * 2**20,
        timing_cache=options["timing_cache"],
        version_compatible=options["version_compatible"],
        hardware=options["hardware"] or "this",
    )


def _default_path(artifact: Artifact, wanted: Wanted) -> Path:
    precision = wanted.options.precision
    return Path(f"{artifact.path.stem.removesuffix(f'.{precision}')}.{precision}.plan")


def _require_place(path: Path) -> None:
    """Refuse before the work what cannot be written or found again.

    Raises:
        UsageError: its name is not a plan's.
        ArtifactError: nothing can be written there.
    """
    if path.suffix != ".plan":
        raise UsageError(f"{path} does not end in .plan, by which plans are known.", f"Say -o {path}.plan")
    with writing(path, ArtifactError, "Choose another place with -o."):
        require_writable(path)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Leave as on Ctrl-C when the process is asked to end, so that nothing stays behind."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print(terminal: Terminal, plan: Plan, *, reused: bool) -> None:
    if terminal.json:
        terminal.document({"plan": str(plan.path), "reused": reused, "spec": plan.spec})
        return
    terminal.table(_COLUMNS, [_row(plan)])


def _row(plan: Plan) -> tuple[object, ...]:
    spec = plan.spec
    layers = ", ".join(f"{count} {name}" for name, count in sorted(spec.layers.items())) or None
    return (
        plan.path,
        f"{spec.plan_bytes / 2**20:.1f}",
        spec.precision,
        layers,
        str(spec.batches),
        spec.tensorrt_version,
        _runs_on(spec),
        f"{spec.build_seconds:.1f}",
    )


def _runs_on(spec: PlanSpec) -> str:
    if spec.hardware == "ampere+":
        return "Ampere and later"
    if spec.hardware == "same":
        return f"compute capability {spec.compute_capability}"
    return spec.gpu or ", ".join(spec.capabilities) or "RTX GPUs"

"""From an artifact to a plan on the disk, whole or not at all."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import edgecnn
from edgecnn.artifact import Artifact, file_sha256, plan_sidecar
from edgecnn.atomic import replacing, writing
from edgecnn.cache import cache_folder
from edgecnn.errors import ArtifactError
from edgecnn.plans.child_process import run_job
from edgecnn.plans.flavour import load
from edgecnn.plans.here import Here, look_here
from edgecnn.plans.messages import BuildJob, Built, Progress
from edgecnn.plans.options import BuildOptions, settle
from edgecnn.plans.plan import Plan
from edgecnn.plans.prepare import prepare
from edgecnn.plans.spec import PlanSpec, encode_plan_spec

__all__ = ["Observer", "Wanted", "build_plan", "build_wanted", "want"]

Observer = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A plan that is to be had: everything that decides what it is.

    Attributes:
        artifact: the ONNX model.
        onnx_sha256: its hash.
        options: with nothing left open.
        here: where it is built.
    """

    artifact: Artifact
    onnx_sha256: str
    options: BuildOptions
    here: Here

    def is_met_by(self, spec: PlanSpec) -> bool:
        """Whether a plan that was built before is this one."""
        ahead_of_time = self.options.flavour.ahead_of_time
        return (
            (spec.onnx_sha256, spec.options_digest) == (self.onnx_sha256, self.options.digest())
            and (spec.flavour, spec.tensorrt_version) == (self.here.flavour, self.here.tensorrt_version)
            and spec.os == self.here.os
            and (ahead_of_time or spec.gpu == self.here.gpu)
            and (ahead_of_time or spec.compute_capability == self.here.compute_capability)
        )


def want(artifact: Artifact, options: BuildOptions) -> Wanted:
    """What building ``artifact`` with ``options`` here means; builds nothing.

    Raises:
        EngineUnavailableError: TensorRT is missing, or has no GPU to build on.
        ArtifactError: the model is a plan already, or cannot be had in that precision.
        UsageError: the options do not suit the model or the flavour.
    """
    load(options.flavour)  # what is missing comes first, before the model is read
    settled = settle(artifact, options)
    here = look_here(options.flavour, options.device)
    return Wanted(artifact, artifact.sha256(), settled, here)


def build_plan(
    artifact: Artifact, options: BuildOptions, path: Path, observe: Observer = lambda _: None
) -> Plan:
    """Build a plan and put it at ``path``, with its spec beside it.

    Args:
        artifact: an ONNX model.
        options: how.
        path: where it goes; a plan already there stays as it was unless all went well.
        observe: told about each step; what it raises cancels the build.

    Raises:
        EngineUnavailableError: TensorRT is missing, or has no GPU to build on.
        EngineError: the parser refuses the model, the build failed or crashed or took too long, or the plan
            is not in the precision asked for.
        ArtifactError: the model is a plan already or cannot be had in that precision; nothing can be written.
        DependencyMissingError: converting to fp16 needs a package that is not installed.
        UsageError: the options do not suit the model or the flavour.
    """
    plan, _ = build_wanted(want(artifact, options), path, observe)
    return plan


def build_wanted(wanted: Wanted, path: Path, observe: Observer = lambda _: None) -> tuple[Plan, Built]:
    """As :func:`build_plan`; also what the build told, with its warnings.

    Raises:
        EdgecnnError: as :func:`build_plan`.
    """
    started = time.monotonic()
    remedy = "Free some space, or choose another place with -o; what was there before is untouched."
    with writing(path, ArtifactError, remedy), _workplace(path) as folder:
        job = _job(wanted, folder)
        options = wanted.options
        built = run_job(job, observe, device=options.device, timeout_s=options.timeout_s)
        spec = _spec(wanted, built, Path(job.plan), time.monotonic() - started)
        with replacing(plan_sidecar(path)) as sidecar, replacing(path) as plan:
            Path(job.plan).replace(plan)
            sidecar.write_bytes(encode_plan_spec(spec))
    return Plan(path, spec), built


@contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """A folder for temporary files on the disk of ``path``, whence the plan need only be moved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process that builds removes the folder, too, when it finds this one gone.
    with tempfile.TemporaryDirectory(
        prefix=f".{path.name}.", suffix=".tmp", dir=path.parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _job(wanted: Wanted, folder: Path) -> BuildJob:
    artifact, options = wanted.artifact, wanted.options
    assert options.precision is not None
    assert options.batches is not None
    timings = _timing_cache(wanted)
    return BuildJob(
        flavour=options.flavour.name,
        onnx=str(prepare(artifact, options.precision, folder).absolute()),
        called=str(artifact.path),
        folder=str(folder.absolute()),
        plan=str(folder.absolute() / "built.plan"),
        precision=options.precision,
        batches=options.batches,
        workspace_bytes=options.workspace_bytes,
        timing_cache=None if timings is None else str(timings.absolute()),
        version_compatible=options.version_compatible,
        hardware=options.hardware,
    )


def _timing_cache(wanted: Wanted) -> Path | None:
    """The user's, or one for this TensorRT and GPU; TensorRT for RTX has none."""
    options, here = wanted.options, wanted.here
    if options.flavour.ahead_of_time or options.timing_cache is not None:
        return options.timing_cache
    identity = f"{here.tensorrt_version} {here.gpu} {here.compute_capability} {here.os}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return cache_folder("plans") / f"timings-{here.tensorrt_version}-{digest}.cache"


def _spec(wanted: Wanted, built: Built, plan: Path, seconds: float) -> PlanSpec:
    options, here, artifact = wanted.options, wanted.here, wanted.artifact
    assert options.precision is not None
    assert options.batches is not None
    own = artifact.spec.precision  # "mixed" says more than "int8"
    precision = options.precision if options.precision == "fp16" else own
    ahead_of_time = options.flavour.ahead_of_time
    return PlanSpec(
        model=replace(artifact.spec, precision=precision),
        onnx_sha256=wanted.onnx_sha256,
        plan_sha256=file_sha256(plan),
        plan_bytes=plan.stat().st_size,
        flavour=here.flavour,
        tensorrt_version=here.tensorrt_version,
        gpu=None if ahead_of_time else here.gpu,
        compute_capability=None if ahead_of_time else here.compute_capability,
        os=here.os,
        precision=options.precision,
        batches=options.batches,
        version_compatible=options.version_compatible,
        hardware=options.hardware,
        options_digest=options.digest(),
        log_sha256=built.log_sha256,
        network_layers=built.network_layers,
        layers=built.layers,
        layers_from=built.layers_from,
        build_seconds=round(seconds, 3),
        edgecnn_version=edgecnn.__version__,
    )

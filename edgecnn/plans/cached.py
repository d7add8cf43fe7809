"""Plans that were built before, used again where nothing that decides them has changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from edgecnn.artifact import Artifact
from edgecnn.cache import cache_folder
from edgecnn.errors import ArtifactError
from edgecnn.plans.build import Observer, Wanted, build_wanted, want
from edgecnn.plans.options import BuildOptions
from edgecnn.plans.plan import Plan, read_plan

__all__ = ["cached_plan", "reusable_plan"]


def cached_plan(artifact: Artifact, options: BuildOptions, observe: Observer = lambda _: None) -> Plan:
    """The plan of ``artifact``, from the cache, or built into it.

    It is found by the hash of the ONNX model, the options, the version of TensorRT, the system and, unless it
    was built ahead of time, the GPU.

    Args:
        artifact: an ONNX model.
        options: how it is built.
        observe: told about each step of a build; told nothing when there is none.

    Raises:
        EdgecnnError: as :func:`edgecnn.plans.build.build_plan`.
    """
    wanted = want(artifact, options)
    path = cache_folder("plans") / f"{artifact.spec.network}-{_key(wanted)}.plan"
    found = reusable_plan(wanted, path)
    return found if found is not None else build_wanted(wanted, path, observe)[0]


def reusable_plan(wanted: Wanted, path: Path) -> Plan | None:
    """The plan at ``path`` if it is whole and the one that is wanted, else None."""
    try:
        plan = read_plan(path)
        if not wanted.is_met_by(plan.spec):
            return None
        plan.content()
    except ArtifactError:
        return None
    return plan


def _key(wanted: Wanted) -> str:
    """Sixteen hexadecimal digits of all that decides what the plan is."""
    here = wanted.here
    place = [here.flavour, here.tensorrt_version, here.os]
    if not wanted.options.flavour.ahead_of_time:
        place += [str(here.gpu), str(here.compute_capability)]
    parts = (wanted.onnx_sha256, wanted.options.digest(), place)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]

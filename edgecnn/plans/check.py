"""Whether a plan can run here; a plan that cannot is refused with both sides named."""

from __future__ import annotations

from collections.abc import Iterator

from edgecnn.errors import EngineUnavailableError
from edgecnn.plans.flavour import FLAVOURS
from edgecnn.plans.here import Here
from edgecnn.plans.plan import Plan
from edgecnn.plans.spec import PlanSpec

__all__ = ["rebuild_command", "require_usable"]

#: The compute capability that "ampere+" begins with.
_AMPERE = (8, 0)


def require_usable(plan: Plan, here: Here) -> None:
    """Refuse a plan that TensorRT would refuse here, or that would run badly.

    What the plan's content is, :meth:`Plan.content` checks.

    Raises:
        EngineUnavailableError: it is of another TensorRT, GPU or system; the message names both, and the
            command that builds it for here.
    """
    differences = list(_differences(plan.spec, here))
    if differences:
        raise EngineUnavailableError(
            f"{plan.path} does not run here: {'; '.join(differences)}.",
            f"Build it here from its ONNX model (SHA-256 {plan.spec.onnx_sha256[:16]}...): "
            f"{rebuild_command(plan.spec, here.flavour)}",
        )


def rebuild_command(spec: PlanSpec, flavour: str | None = None) -> str:
    """The command that builds the plan again, with all that it was asked for."""
    batches = dict.fromkeys((spec.batches.min, spec.batches.opt, spec.batches.max))
    words = [
        f"edgecnn build MODEL.onnx --engine {flavour or spec.flavour} --precision {spec.precision}",
        f"--batch {','.join(map(str, batches))}",
    ]
    if spec.version_compatible:
        words.append("--version-compatible")
    if spec.hardware != "this":
        words.append(f"--hardware {spec.hardware}")
    return " ".join(words)


def _differences(spec: PlanSpec, here: Here) -> Iterator[str]:
    if spec.flavour != here.flavour:
        built, opening = FLAVOURS[spec.flavour].title, FLAVOURS[here.flavour].title
        yield f"it was built by {built}, and {opening} would open it"
        return
    if not _version_fits(spec, here):
        yield f"it was built by TensorRT {spec.tensorrt_version}, and this is {here.tensorrt_version}"
    if spec.os != here.os:
        yield f"it was built on {spec.os}, and this is {here.os}"
    if not _gpu_fits(spec, here):
        yield f"it was built {_built_for(spec)}, and this is {_called(here.gpu, here.compute_capability)}"


def _version_fits(spec: PlanSpec, here: Here) -> bool:
    """A version-compatible plan is for its major, from its own minor on."""
    if not spec.version_compatible:
        return spec.tensorrt_version == here.tensorrt_version
    built, found = _numbers(spec.tensorrt_version), _numbers(here.tensorrt_version)
    return built[0] == found[0] and built[:2] <= found[:2]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _gpu_fits(spec: PlanSpec, here: Here) -> bool:
    if here.compute_capability is None:
        return False
    if spec.compute_capability is None:  # ahead of time
        return not spec.capabilities or here.compute_capability in spec.capabilities
    if spec.hardware == "ampere+":
        return _numbers(here.compute_capability) >= _AMPERE
    same = spec.compute_capability == here.compute_capability
    return same and (spec.hardware == "same" or spec.gpu == here.gpu)


def _built_for(spec: PlanSpec) -> str:
    if spec.hardware == "ampere+":
        return "for GPUs of compute capability 8.0 and later"
    if spec.compute_capability is None:
        return f"ahead of time for {', '.join(spec.capabilities) or 'RTX GPUs'}"
    if spec.hardware == "same":
        return f"for compute capability {spec.compute_capability}"
    return f"on {_called(spec.gpu, spec.compute_capability)}"


def _called(gpu: str | None, capability: str | None) -> str:
    return "a machine without a GPU" if gpu is None else f"{gpu} (compute capability {capability})"

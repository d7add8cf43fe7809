"""The quantised artifacts of a matrix, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.compare.cells import Making
from edgecnn.compare.identity import content
from edgecnn.compare.plan import ComparePlan
from edgecnn.compare.store import key_of
from edgecnn.data import fingerprint, map_labels, subset
from edgecnn.environment import PACKAGES, describe_environment, usable_cores
from edgecnn.errors import ArtifactError
from edgecnn.quantize.pipeline import Sources, quantize_artifact
from edgecnn.quantize.settings import QuantizeSettings, this_cpu

__all__ = ["made_artifact"]

#: Whose versions decide what a quantised model is.
_LIBRARIES = tuple(name for name in PACKAGES if name not in ("torch", "torchvision", "timm", "onnxscript"))


def made_artifact(
    base: Artifact, making: Making, plan: ComparePlan, observe: Callable[[str], None]
) -> Artifact:
    """``base`` quantised as ``making`` says, from the plan's folder where it was made before.

    Raises:
        EdgecnnError: as :func:`edgecnn.quantize.pipeline.quantize_artifact`.
    """
    environment = describe_environment(_LIBRARIES)
    settings = QuantizeSettings(
        target=making.target,
        recipe=making.recipe,
        max_drop=plan.max_drop,
        cpu=this_cpu(environment),
        images=plan.images,
        threads=usable_cores(),
    )
    calibration = None if making.recipe == "fp16" else plan.calibration
    images = None
    if calibration is not None:
        used = subset(calibration, plan.images)
        images = (fingerprint(used), map_labels(used, base.spec.classes, plan.classes).tolist())
    key = key_of(content(base), settings, images, environment.versions)
    path = _path(base, making, plan.folder, key)
    if path.is_file() and not plan.fresh:
        try:
            return open_artifact(path)
        except ArtifactError as error:
            observe(f"Quantising again, since the file is damaged: {error.problem}")
    sources = Sources(calibration=calibration, classes=plan.classes)
    return quantize_artifact(base, settings, sources, path, observe=observe, warn=observe).artifact


def _path(base: Artifact, making: Making, folder: Path, key: str) -> Path:
    kind = "fp16" if making.recipe == "fp16" else "int8"
    target = "" if making.target == "ort" else f".{making.target}"
    return folder / "artifacts" / f"{base.spec.network}{target}.{kind}-{key}.onnx"

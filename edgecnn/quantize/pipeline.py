"""From a float artifact to a quantised one that says of itself how good it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from edgecnn.artifact import Artifact, read_onnx, save_artifact
from edgecnn.data import LabelledImages, map_labels, select, subset
from edgecnn.errors import (
    DependencyMissingError,
    EdgecnnError,
    EngineUnavailableError,
    QuantizationError,
    UsageError,
)
from edgecnn.graph.index import opset_version
from edgecnn.graph.shapes import images_per_run
from edgecnn.quantize.calibration import unsettled
from edgecnn.quantize.guards import (
    check_calibration,
    require_disjoint,
    require_fitting_batch,
    require_float,
)
from edgecnn.quantize.images import CalibrationImages
from edgecnn.quantize.measure import Evaluation, Measured, measure
from edgecnn.quantize.openvino_limits import misread_nodes
from edgecnn.quantize.portability import Portability, PortabilityUnknown, check_portability
from edgecnn.quantize.recipes import RECIPES, Recipe
from edgecnn.quantize.settings import QuantizeSettings
from edgecnn.quantize.work import Quantised, Work
from edgecnn.reports.result import MemoryBytes
from edgecnn.spec import ModelSpec, Quantization

__all__ = ["Outcome", "Sources", "quantize_artifact"]

#: Images of the portability check, which costs half a second for each.
_PORTABILITY_IMAGES = 8

#: Recipes that use NNCF where the target is OpenVINO.
_WITH_NNCF = frozenset({"auto", "nncf"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The images.

    Attributes:
        calibration: None for recipes that need none.
        evaluation: to measure accuracy on; None for the calibration images that set no range.
        classes: table from WordNet ids to class indices; None to find it by itself.
    """

    calibration: LabelledImages | None = None
    evaluation: LabelledImages | None = None
    classes: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it.

    Attributes:
        artifact: the file that was written.
        quantised: what the recipe did.
        measured: what was measured.
        portability: whether other CPUs could answer differently; None where that is no question or there are
            no images to try it with.
    """

    artifact: Artifact
    quantised: Quantised
    measured: Measured
    portability: Portability | PortabilityUnknown | None


def quantize_artifact(
    artifact: Artifact,
    settings: QuantizeSettings,
    sources: Sources,
    path: Path,
    observe: Callable[[str], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Quantise ``artifact``, measure the result, and write it with what was measured.

    Args:
        artifact: in float32.
        settings: target, recipe and limits.
        sources: images.
        path: where the quantised artifact goes.
        observe: told what happens, a line at a time.
        warn: told what the user must know.

    Raises:
        QuantizationError: the model, the images or the recipe do not allow it.
        DataError: the images cannot be used.
        UsageError: a node to keep in float does not exist, or the recipe needs images and there are none.
        EngineUnavailableError: the target's engine is not installed.
        DependencyMissingError: NNCF is needed and not installed.
        ArtifactError: the file cannot be written.
    """
    recipe = RECIPES[settings.recipe]
    model = read_onnx(artifact.path)
    require_float(model, artifact.path)
    _require_engine(settings)
    prepared = recipe.requires(model)
    require_fitting_batch(prepared, artifact.spec, artifact.path)
    images = _calibration_images(artifact.spec, recipe, settings, sources, warn)
    evaluation = _evaluation(artifact.spec, recipe, images, sources, warn)
    keep = _named(prepared, settings.keep_float) | _misread(prepared, recipe, settings, observe)
    work = Work(prepared, artifact.spec, settings, keep, images, observe)
    quantised = recipe.apply(work)
    spec = _spec(artifact, recipe, settings, quantised, images)
    observe("Measuring the result")
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".quantize.", dir=path.parent) as folder:
        temporary = save_artifact(quantised.model, spec, Path(folder) / path.name)
        measured = measure(
            artifact,
            temporary,
            (prepared, quantised.model),
            settings,
            evaluation,
            must_be_faster=recipe.multiplies_integers,
        )
    assert spec.quantization is not None
    record = replace(
        spec.quantization,
        accuracy=measured.accuracy,
        speed=measured.speed,
        int8_mac_share=measured.int8_mac_share,
    )
    written = save_artifact(quantised.model, replace(spec, quantization=record), path)
    return Outcome(
        artifact=written,
        quantised=quantised,
        measured=_told(_named_as(measured, written), unsettled(quantised.convergence)),
        portability=_portability(quantised.model, images, settings),
    )


def _require_engine(settings: QuantizeSettings) -> None:
    """Minutes of search must not end with a missing package."""
    if settings.target != "openvino":
        return
    from edgecnn.engines import ENGINES, engine_type

    try:
        engine_type("openvino").check()
    except EngineUnavailableError as error:
        raise EngineUnavailableError(
            f"The target openvino cannot be measured here. {error.problem}", error.remedy
        ) from error
    if settings.recipe in _WITH_NNCF and find_spec("nncf") is None:  # to import it takes seconds
        raise DependencyMissingError(
            "nncf", f"The recipe {settings.recipe} for OpenVINO", ENGINES["openvino"].extra
        )


def _calibration_images(
    spec: ModelSpec,
    recipe: Recipe,
    settings: QuantizeSettings,
    sources: Sources,
    warn: Callable[[str], None],
) -> CalibrationImages | None:
    if sources.calibration is None:
        return None
    source = subset(sources.calibration, settings.images)
    labels = map_labels(source, spec.classes, sources.classes)
    if recipe.calibrates:
        for text in check_calibration(source, labels):
            warn(text)
    return CalibrationImages(source, labels, spec, settings.threads)


def _evaluation(
    spec: ModelSpec,
    recipe: Recipe,
    images: CalibrationImages | None,
    sources: Sources,
    warn: Callable[[str], None],
) -> Evaluation | None:
    """The evaluation images, or those of the calibration that judge."""
    if sources.evaluation is not None:
        if images is not None and recipe.calibrates:
            for text in require_disjoint(images.source, sources.evaluation):
                warn(text)
        return Evaluation(sources.evaluation, map_labels(sources.evaluation, spec.classes, sources.classes))
    if images is None:
        return None
    held = select(images.source, images.judging, f"{images.source.name} (held out)")
    return Evaluation(held, images.labels[images.judging])


def _named(model: onnx.ModelProto, names: Collection[str]) -> frozenset[str]:
    """The nodes that ``names`` mean: each a node, or a module, which means all nodes inside.

    Raises:
        UsageError: there is neither.
    """
    nodes = [node.name for node in model.graph.node]
    found: set[str] = set()
    for name in names:
        inside = {node for node in nodes if node == name or node.startswith((f"{name}/", f"{name}."))}
        if not inside:
            raise UsageError(
                f"The model has no node or module {name!r} to keep in float.",
                "'edgecnn inspect MODEL --layers' lists the nodes.",
            )
        found |= inside
    return frozenset(found)


def _misread(
    model: onnx.ModelProto, recipe: Recipe, settings: QuantizeSettings, observe: Callable[[str], None]
) -> frozenset[str]:
    """The nodes that would answer wrongly in the target's engine if they worked on 8-bit values.

    Raises:
        QuantizationError: there are some, and the recipe's own placement errs even without them.
    """
    if settings.target != "openvino" or not recipe.calibrates:
        return frozenset()
    nodes = misread_nodes(model)
    if nodes and settings.recipe == "nncf":
        raise QuantizationError(
            "OpenVINO would run NNCF's file of this graph wrongly: it computes with the number of images.",
            "Pass --recipe auto, or export with a fixed batch: edgecnn export NET --batch 1",
        )
    if nodes:
        observe(
            f"{len(nodes)} nodes, up to the first layer with weights, stay in float: OpenVINO would run them "
            "wrongly in int8, since the graph computes with the number of images."
        )
    return nodes


def _spec(
    artifact: Artifact,
    recipe: Recipe,
    settings: QuantizeSettings,
    quantised: Quantised,
    images: CalibrationImages | None,
) -> ModelSpec:
    """Before anything was measured."""
    used = images if recipe.calibrates else None
    kept = quantised.kept_float
    mixed = recipe.precision == "int8" and bool(kept)
    return replace(
        artifact.spec,
        precision="mixed" if mixed else recipe.precision,
        provenance=replace(artifact.spec.provenance, opset=opset_version(quantised.model)),
        quantization=Quantization(
            recipe=settings.recipe,
            target=settings.target,
            scheme=quantised.scheme,
            source_sha256=artifact.sha256(),
            calibration=None if used is None else used.source.name,
            calibration_images=None if used is None else len(used.ranging),
            calibration_sha256=None if used is None else used.fingerprint(),
            steps=quantised.steps,
            kept_float=kept,
            calibration_convergence=quantised.convergence,
        ),
    )


def _named_as(measured: Measured, artifact: Artifact) -> Measured:
    """The results speak of the file that was written, not of the temporary one that was measured."""
    before, after = measured.results
    variant = replace(after.variant, artifact=str(artifact.path), sha256=artifact.sha256())
    size = MemoryBytes(file=artifact.size_bytes())
    return replace(measured, results=(before, replace(after, variant=variant, memory_bytes=size)))


def _told(measured: Measured, warnings: tuple[str, ...]) -> Measured:
    """With ``warnings`` before those that there are of the quantised model."""
    before, after = measured.results
    return replace(measured, results=(before, replace(after, warnings=(*warnings, *after.warnings))))


def _portability(
    model: onnx.ModelProto, images: CalibrationImages | None, settings: QuantizeSettings
) -> Portability | PortabilityUnknown | None:
    """Only 8-bit activations without sign meet the saturating instruction."""
    if images is None or settings.target == "trt" or settings.cpu == "arm":
        return None
    if RECIPES[settings.recipe].precision != "int8":
        return None
    held, size = images.held_out(), images_per_run(model)
    count = min(max(_PORTABILITY_IMAGES, size), len(held)) // size * size
    if not count:
        return None
    try:
        return check_portability(model, held[:count])
    except EdgecnnError as error:  # the file is written: what else is known of it must still be told
        return PortabilityUnknown(error.problem)

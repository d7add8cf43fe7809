"""``edgecnn validate``: accuracy and agreement of models on labelled data."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.commands.console import Terminal, terminal_options
from edgecnn.commands.model_argument import ModelOptions, model_options, resolve_models
from edgecnn.commands.parameters import FiniteRange
from edgecnn.commands.shared_options import classes_option, limit_option, result_option, threads_option
from edgecnn.commands.validation_tables import gate_failures, print_validation
from edgecnn.data import SOURCE_FORMS, LabelledImages, map_labels, open_source, subset
from edgecnn.engines import Engine
from edgecnn.engines.choice import parse_choice
from edgecnn.engines.suitability import unsuitable
from edgecnn.environment import describe_environment, usable_cores
from edgecnn.errors import DataError, GateError, UsageError
from edgecnn.reports.missed import excused
from edgecnn.reports.result import BadImage, Result, ResultFile, Variant
from edgecnn.reports.result_file import encode_results, write_results
from edgecnn.reports.variant import variant_of
from edgecnn.validate import PassSettings, Wanted, evaluate, measured_results, open_for_pass

__all__ = ["validate"]

#: How many bad images are named at the terminal; the JSON names all.
_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What the user asked for; the fields are the options."""

    models: tuple[str, ...]
    data: str
    engines: tuple[str, ...]
    reference: str | None
    reference_engine: str | None
    classes: Path | None
    limit: int | None
    batch: int
    threads: int | None
    max_drop: float | None
    per_class: bool
    skip_bad: bool
    output: Path | None
    model_options: ModelOptions

    def __post_init__(self) -> None:
        for engine in (*self.engines, self.reference_engine):
            if engine is not None:
                parse_choice(engine)  # what is wrong with it is said before the data are looked at
        if self.max_drop is not None and self.reference is None:
            raise UsageError(
                "--max-drop limits a drop relative to a reference, and there is none.",
                "Pass --reference MODEL, such as the fp32 model.",
            )
        if self.reference_engine is not None and self.reference is None:
            raise UsageError(
                "--reference-engine runs a reference, and there is none.", "Pass --reference MODEL."
            )

    @property
    def settings(self) -> PassSettings:
        return PassSettings(batch=self.batch, workers=self.threads or usable_cores())

    @property
    def wanted(self) -> Wanted:
        return Wanted(paired=self.reference is not None, per_class=self.per_class, max_drop=self.max_drop)


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--data", required=True, metavar="DATA", help=f"Labelled images: {SOURCE_FORMS}.")
@click.option(
    "--engine",
    "engines",
    multiple=True,
    default=("ort",),
    show_default=True,
    help="NAME[:OPTION=VALUE,...]. Repeat for more.",
)
@click.option("--reference", metavar="MODEL", help="Compare with it, image by image.")
@click.option("--reference-engine", help="What runs the reference.  [default: ort]")
@classes_option
@limit_option
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Images per run.")
@threads_option
@click.option(
    "--max-drop",
    type=FiniteRange(min=0),
    metavar="POINTS",
    help="Exit with 3 if top-1 falls below the reference's by more than so many percentage points, beyond "
    "what chance explains (95 % interval).",
)
@click.option("--per-class", is_flag=True, help="Add a table of the classes.")
@click.option("--skip-bad", is_flag=True, help="Exit with 0 although some images cannot be used.")
@result_option
@model_options
@terminal_options
def validate(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401 - click's own
    """Measure the accuracy of every MODEL in every engine, on the same images.

    MODEL is a model file, or the name of a network, for which --weights says which. With --reference the
    comparison is paired: agreement, which predictions flipped, and whether that is more than chance.

    Images that cannot be used are named and left out; unless --skip-bad, the exit code is then 1.
    """
    request = _Request(**options)
    source = subset(open_source(request.data, announce=terminal.note), request.limit)
    environment = describe_environment()
    results = _measure(request, source, terminal)
    document = ResultFile(environment=environment, results=results)
    if request.output is not None:
        write_results(document, request.output)
    if terminal.json:
        terminal.line(encode_results(document))
    else:
        print_validation(terminal, results)
    _judge(terminal, results, skip_bad=request.skip_bad)


def _measure(request: _Request, source: LabelledImages, terminal: Terminal) -> tuple[Result, ...]:
    artifacts = _artifacts(request, terminal)
    for text, artifact in artifacts:
        if reason := unsuitable(artifact.spec, parse_choice(text).name):
            terminal.warn(reason)
    labels = _labels(source, [artifact for _, artifact in artifacts], request.classes)
    with ExitStack() as stack:
        engines = [
            stack.enter_context(open_for_pass(text, artifact, request.settings))
            for text, artifact in artifacts
        ]
        with terminal.progress("Validating", len(source)) as observer:
            evaluation = evaluate(
                engines,
                source,
                labels,
                request.settings,
                paired=request.wanted.paired,
                observer=observer,
            )
        variants = [
            (_variant(text, artifact, engine, request.batch), engine)
            for (text, artifact), engine in zip(artifacts, engines, strict=True)
        ]
        return measured_results(evaluation, variants, source, request.settings, request.wanted)


def _variant(text: str, artifact: Artifact, engine: Engine, batch: int) -> Variant:
    choice = parse_choice(text)
    return variant_of(artifact, engine.info, choice.options.batch or batch, choice)


def _artifacts(request: _Request, terminal: Terminal) -> list[tuple[str, Artifact]]:
    """Engines, as they were written, and artifacts, the reference first; what is named twice runs once."""
    first = [] if request.reference is None else [request.reference]
    resolved = resolve_models([*first, *request.models], request.model_options, terminal.note)
    pairs = [(request.reference_engine or "ort", artifact) for artifact in resolved[: len(first)]]
    pairs += [(engine, artifact) for artifact in resolved[len(first) :] for engine in request.engines]
    return list(
        {(engine, artifact.path.resolve()): (engine, artifact) for engine, artifact in pairs}.values()
    )


def _labels(source: LabelledImages, artifacts: list[Artifact], classes: Path | None) -> NDArray[np.int64]:
    """The labels, which must be the same indices for all models.

    Raises:
        UsageError: two models order their classes differently.
    """
    by_classes = {artifact.spec.classes: artifact for artifact in artifacts}
    mapped = [map_labels(source, names, classes) for names in by_classes]
    for other, artifact in zip(mapped, by_classes.values(), strict=True):
        if not np.array_equal(other, mapped[0]):
            raise UsageError(
                f"{artifacts[0].path} and {artifact.path} have their classes in different orders.",
                "Validate them in separate runs.",
            )
    return mapped[0]


def _judge(terminal: Terminal, results: tuple[Result, ...], *, skip_bad: bool) -> None:
    """Name the bad images and the drops that chance explains; fail for the former, or for a missed limit.

    Raises:
        DataError: images are bad and may not be.
        GateError: a limit did not hold.
    """
    bad = _bad_images(results)
    for image in bad[:_NAMED]:
        terminal.warn(f"{image.key}: {image.reason}; left out.")
    if len(bad) > _NAMED:
        terminal.warn(f"{len(bad) - _NAMED} more images are left out; --json and -o list all.")
    for result in results:
        for sentence in excused(result):
            terminal.note(f"Note: {result.variant.artifact} in {result.variant.engine}: {sentence}")
    failures = gate_failures(results)
    if bad and not skip_bad:
        images = "1 image" if len(bad) == 1 else f"{len(bad)} images"
        problem = f"{images} cannot be used; the accuracy is that of the others."
        raise DataError(
            " ".join([problem, *failures]), "Replace or remove what is named above, or pass --skip-bad."
        )
    if failures:
        raise GateError(" ".join(failures), "Choose another model or recipe, or allow a larger drop.")


def _bad_images(results: tuple[Result, ...]) -> tuple[BadImage, ...]:
    """Those of the data set that all results share."""
    accuracy = results[0].accuracy
    return accuracy.dataset.bad if accuracy and accuracy.dataset else ()

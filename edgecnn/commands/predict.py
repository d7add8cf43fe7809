"""``edgecnn predict``: labels for images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from edgecnn.commands.console import Column, Terminal, terminal_options
from edgecnn.commands.model_argument import ModelOptions, model_options, resolve_models
from edgecnn.engines import Engine
from edgecnn.engines.choice import open_choice, parse_choice
from edgecnn.engines.suitability import unsuitable
from edgecnn.errors import ImageError, UsageError
from edgecnn.preprocess import decode, prepare
from edgecnn.validate.model_batches import run_images
from edgecnn.validate.ranking import first_choices, probabilities

__all__ = ["predict"]

_COLUMNS = (Column("probability"), Column("class"), Column("label", number=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One class and how probable the model holds it, 0 to 1."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model says of one image: its choices, best first, or why the image cannot be used."""

    image: str
    top: tuple[Choice, ...] = ()
    error: str | None = None


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Labels per image.")
@click.option(
    "--engine", default="ort", show_default=True, help="What runs the model: NAME[:OPTION=VALUE,...]."
)
@model_options
@terminal_options
def predict(
    terminal: Terminal,
    *,
    model: str,
    images: tuple[Path, ...],
    top: int,
    engine: str,
    model_options: ModelOptions,
) -> None:
    """Print the most probable labels of each IMAGE.

    MODEL is a model file, or the name of a network, for which --weights says which. An image that cannot be
    used is named with its fault; the others go on, and the exit code is 1.
    """
    _require_files(images)
    choice = parse_choice(engine)
    (artifact,) = resolve_models([model], model_options, terminal.note)
    if reason := unsuitable(artifact.spec, choice.name):
        terminal.warn(reason)
    with open_choice(choice, artifact) as opened:
        predictions = []
        for prediction in _predictions(opened, images, top):
            predictions.append(prediction)
            _report(terminal, prediction)
    if terminal.json:
        terminal.document({"model": str(artifact.path), "engine": opened.info, "predictions": predictions})
    if any(prediction.error is not None for prediction in predictions):
        raise click.exceptions.Exit(1)


def _require_files(images: tuple[Path, ...]) -> None:
    for path in images:
        if path.is_dir():
            raise UsageError(
                f"{path} is a folder, and 'predict' takes image files.",
                f"Name its files: {path}/*.jpg. For labelled folders: edgecnn validate MODEL --data {path}",
            )


def _predictions(engine: Engine, images: tuple[Path, ...], top: int) -> Iterator[Prediction]:
    for path in images:
        try:
            yield _prediction(engine, path, top)
        except ImageError as error:
            yield Prediction(image=str(path), error=error.reason)


def _prediction(engine: Engine, path: Path, top: int) -> Prediction:
    spec = engine.spec
    batch = prepare(decode(path), spec, name=str(path))[None]
    scores = run_images(engine, batch)
    (shares,) = probabilities(scores, spec.scores)
    choices = (
        Choice(index=int(index), label=spec.classes[index], probability=float(shares[index]))
        for index in first_choices(scores, top)[0]
    )
    return Prediction(image=str(path), top=tuple(choices))


def _report(terminal: Terminal, prediction: Prediction) -> None:
    if prediction.error is not None:
        click.echo(f"Error: {prediction.image}: {prediction.error}", err=True)
    elif not terminal.json:
        rows = [(f"{choice.probability:.2%}", choice.index, choice.label) for choice in prediction.top]
        terminal.line(prediction.image)
        terminal.table(_COLUMNS, rows)

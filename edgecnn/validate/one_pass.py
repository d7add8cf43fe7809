"""One pass over labelled images: each image is decoded once and runs in every engine.

Each worker decodes its own batch of images and then runs the engines on it, so that decoding and
inference fill all cores whichever of the two is the slower: with t_d and t_r seconds of one core per image,
k workers approach k / (t_d + t_r) images a second, which no schedule on k cores exceeds. Memory is bounded
by the batches under way; of an image only its first five choices are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from threading import Lock
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.data import LabelledImages, ordered_map
from edgecnn.engines import Engine, engine_type
from edgecnn.engines.base import Batch, Scores
from edgecnn.engines.choice import open_choice, parse_choice
from edgecnn.errors import DataError, EngineError, ImageError, UsageError
from edgecnn.preprocess import prepare
from edgecnn.reports.result import BadImage
from edgecnn.spec import ModelSpec
from edgecnn.statistics import powers
from edgecnn.validate.evaluation import Difference, Evaluation, PassSettings, Predictions
from edgecnn.validate.model_batches import run_images
from edgecnn.validate.ranking import count_tied, first_choices

__all__ = ["evaluate", "open_for_pass"]

TOP = 5

#: Batches under way for each worker: one in work, one waiting, so that a slow one idles nobody.
_WINDOW_PER_WORKER = 2


def open_for_pass(engine: str, artifact: Artifact, settings: PassSettings) -> Engine:
    """Open ``engine`` ("ort", "ort:threads=2") as a pass wants it: a thread for each worker, none idly busy.

    What the text itself says comes first.

    An engine that allows no parallel runs gets all cores but one, which is left to decoding. One batch runs
    in advance, so that what an engine does at first (allocate, compile for a size) is no part of the pass.

    Raises:
        UsageError: no such engine, or an option that it does not understand.
        EngineUnavailableError: the engine cannot open on this machine.
        EngineError: the artifact does not open in it, or it cannot run.
    """
    choice, kind = parse_choice(engine), engine_type(parse_choice(engine).name)
    parallel = kind.check().parallel_runs
    wishes = {"threads": 1 if parallel else max(1, settings.workers - 1), "spin": False}
    if "streams" in kind.understands and choice.options.threads is None:  # its runs take turns on each stream
        wishes |= {"threads": settings.workers, "streams": settings.workers}
    tensor = artifact.spec.input
    sizes = [size for size in tensor.shape[1:] if isinstance(size, int)]
    with ExitStack() as stack:
        opened = stack.enter_context(open_choice(choice.preferring(**wishes), artifact))
        run_images(opened, np.zeros((settings.batch, *sizes), tensor.dtype))
        stack.pop_all()
    return opened


def evaluate(
    engines: Sequence[Engine],
    source: LabelledImages,
    labels: NDArray[np.int64],
    settings: PassSettings,
    *,
    paired: bool = False,
    observer: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Run every image of ``source`` through all ``engines``.

    Images that cannot be used are left out for all engines and listed.

    Args:
        engines: open, with equally many classes.
        source: labelled images.
        labels: (len(source),) class indices of the models.
        settings: batch and workers.
        paired: whether the first engine is the reference of the others.
        observer: told how many more images are done.

    Raises:
        UsageError: the models differ in their number of classes.
        DataError: a label is no class of the models, or no image can be used.
        EngineError: an engine failed, or gave a score that is no number.
    """
    _require_classes(engines, source, labels)
    work = _Work(source, tuple(_Runner.of(engine) for engine in engines), paired)
    starts = range(0, len(source), settings.batch)
    chunks = (range(start, min(start + settings.batch, len(source))) for start in starts)
    window = _WINDOW_PER_WORKER * settings.workers
    begin = perf_counter()
    parts = []
    for part in ordered_map(work.run, chunks, workers=settings.workers, window=window):
        parts.append(part)
        observer(len(part.images) + len(part.bad))
    return _joined(parts, labels, perf_counter() - begin)


@dataclass(frozen=True, slots=True)
class _Part:
    """A batch that is done: as :class:`Evaluation`, for its images."""

    images: list[int]
    bad: list[BadImage]
    predictions: list[Predictions]


@dataclass(frozen=True, slots=True)
class _Runner:
    """An engine in a pass.

    Attributes:
        engine: open.
        turn: held while it runs; free to all where it allows parallel runs.
        form: what decides how an image is prepared; engines of the same form share prepared images.
    """

    engine: Engine
    turn: AbstractContextManager[object]
    form: object

    @classmethod
    def of(cls, engine: Engine) -> _Runner:
        spec = engine.spec
        turn = nullcontext() if engine.info.parallel_runs else Lock()
        return cls(engine, turn, (spec.preprocess, spec.input.dtype, spec.input.shape[1:]))

    def timed_scores(self, images: Batch) -> tuple[Scores, float]:
        """Scores, and the seconds that they took, waiting for the turn not counted."""
        with self.turn:
            begin = perf_counter()
            scores = run_images(self.engine, images)
            return scores, perf_counter() - begin


@dataclass(frozen=True, slots=True)
class _Work:
    """What the workers do with a batch of images."""

    source: LabelledImages
    runners: tuple[_Runner, ...]
    paired: bool

    def run(self, chunk: range) -> _Part:
        images, inputs, bad = self._prepared(chunk)
        predictions: list[Predictions] = []
        reference: Scores | None = None
        for runner in self.runners if images else ():
            scores, seconds = runner.timed_scores(inputs[runner.form])
            self._require_numbers(scores, images, runner.engine)
            difference = None if reference is None else self._difference(reference, scores, runner.engine)
            predictions.append(
                Predictions(
                    choices=first_choices(scores, TOP),
                    tied=count_tied(scores),
                    run_s=seconds,
                    difference=difference,
                )
            )
            if self.paired and reference is None:
                reference = scores
        return _Part(images, bad, predictions)

    def _prepared(self, chunk: range) -> tuple[list[int], dict[object, Batch], list[BadImage]]:
        """The usable images of ``chunk``, their model inputs by form, and the images that are bad."""
        specs = {runner.form: runner.engine.spec for runner in self.runners}
        inputs: dict[object, list[Batch]] = {form: [] for form in specs}
        images, bad = [], []
        for index in chunk:
            try:
                prepared = self._prepare(index, specs)
            except ImageError as error:
                bad.append(BadImage(key=self.source.key(index), reason=error.reason))
                continue
            images.append(index)
            for form, one in prepared.items():
                inputs[form].append(one)
        return images, {form: np.stack(ones) for form, ones in inputs.items() if ones}, bad

    def _prepare(self, index: int, specs: dict[object, ModelSpec]) -> dict[object, Batch]:
        image = self.source.image(index)
        name = self.source.key(index)
        return {form: prepare(image, spec, name=name) for form, spec in specs.items()}

    def _difference(self, reference: Scores, scores: Scores, engine: Engine) -> Difference | None:
        if engine.spec.scores != self.runners[0].engine.spec.scores:
            return None
        signal, noise = powers(reference, scores)
        return Difference(signal=signal, noise=noise, max_abs=float(np.abs(reference - scores).max()))

    def _require_numbers(self, scores: Scores, images: list[int], engine: Engine) -> None:
        broken = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        if len(broken):
            raise EngineError(
                f"The engine {engine.info.name!r} gave scores that are not numbers (NaN or infinite) of "
                f"{engine.spec.network!r} for {self.source.key(images[int(broken[0])])}.",
                "The artifact overflows: compare with the fp32 one, or try another engine.",
            )


def _require_classes(engines: Sequence[Engine], source: LabelledImages, labels: NDArray[np.int64]) -> None:
    """Check that all models have the same number of classes and every label is one of them."""
    counts = {len(engine.spec.classes): engine.spec.network for engine in engines}
    if len(counts) != 1:
        models = ", ".join(f"{network!r} has {count} classes" for count, network in counts.items())
        raise UsageError(f"The models do not fit one data set: {models}.", "Validate them in separate runs.")
    (count,) = counts
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"{source.key(first)}: its label {labels[first]} is not a class of the model, "
            f"which has 0 to {count - 1}.",
            "Use data of the model's classes, or map them with --classes CSV.",
        )


def _joined(parts: Sequence[_Part], labels: NDArray[np.int64], seconds: float) -> Evaluation:
    bad = tuple(image for part in parts for image in part.bad)
    filled = [part for part in parts if part.images]
    if not filled:
        examples = "; ".join(f"{image.key}: {image.reason}" for image in bad[:3]) or "there are none"
        raise DataError(f"No image can be used: {examples}.", "Give data with readable images.")
    images = np.array([index for part in filled for index in part.images], np.int64)
    columns = zip(*(part.predictions for part in filled), strict=True)
    return Evaluation(
        images=images,
        labels=labels[images],
        bad=bad,
        predictions=tuple(_concatenated(column) for column in columns),
        wall_s=seconds,
    )


def _concatenated(parts: Sequence[Predictions]) -> Predictions:
    differences = [part.difference for part in parts if part.difference is not None]
    return Predictions(
        choices=np.concatenate([part.choices for part in parts]),
        tied=sum(part.tied for part in parts),
        run_s=sum(part.run_s for part in parts),
        difference=sum(differences, Difference()) if differences else None,
    )

"""From a pass to the result of each variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgecnn.data import LabelledImages, fingerprint
from edgecnn.data.subset import select
from edgecnn.engines import Engine
from edgecnn.reports.max_drop import paired_drop_gate
from edgecnn.reports.result import Accuracy, Dataset, Gate, Pace, Result, Variant
from edgecnn.validate.accuracy import accuracy_of, class_accuracies, compared, confusions
from edgecnn.validate.evaluation import Evaluation, PassSettings, Predictions

__all__ = ["Wanted", "measured_results"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to measure besides accuracy.

    Attributes:
        paired: whether the first variant is the reference of the others.
        per_class: whether to make the table of classes.
        confused: whether to count what is taken for what.
        max_drop: how many percentage points of top-1 below the reference are allowed, what chance explains
            not counted; None for any.
    """

    paired: bool = False
    per_class: bool = False
    confused: bool = False
    max_drop: float | None = None


def measured_results(
    evaluation: Evaluation,
    variants: Sequence[tuple[Variant, Engine]],
    source: LabelledImages,
    settings: PassSettings,
    wanted: Wanted,
) -> tuple[Result, ...]:
    """One result for each variant, in the order of the evaluation's predictions.

    Args:
        evaluation: of the variants' engines on ``source``.
        variants: what ran.
        source: the images.
        settings: those of the pass.
        wanted: what to measure.
    """
    report = _Report(evaluation, _dataset(evaluation, source), source, settings, wanted)
    reference = (variants[0][0], evaluation.predictions[0]) if wanted.paired else None
    pairs = zip(variants, evaluation.predictions, strict=True)
    return tuple(
        report.result(variant, engine, predictions, reference) for (variant, engine), predictions in pairs
    )


@dataclass(frozen=True, slots=True)
class _Report:
    """What the results of one pass share."""

    evaluation: Evaluation
    dataset: Dataset
    source: LabelledImages
    settings: PassSettings
    wanted: Wanted

    def result(
        self,
        variant: Variant,
        engine: Engine,
        predictions: Predictions,
        reference: tuple[Variant, Predictions] | None,
    ) -> Result:
        if reference is not None and predictions is reference[1]:
            reference = None
        accuracy = self._accuracy(engine.spec.classes, predictions, reference)
        pace = self._pace(engine, predictions)
        return Result(variant=variant, accuracy=accuracy, pace=pace, gates=self._gates(accuracy))

    def _gates(self, accuracy: Accuracy) -> tuple[Gate, ...]:
        limit = self.wanted.max_drop
        gate = None if limit is None else paired_drop_gate(accuracy, limit)
        return () if gate is None else (gate,)

    def _accuracy(
        self,
        classes: tuple[str, ...],
        predictions: Predictions,
        reference: tuple[Variant, Predictions] | None,
    ) -> Accuracy:
        accuracy = accuracy_of(self.evaluation, predictions, len(classes))
        if reference is not None:
            accuracy = compared(accuracy, self.evaluation, predictions, reference, self.source)
        if self.wanted.per_class:
            other = None if reference is None else reference[1]
            table = class_accuracies(self.evaluation, predictions, other, classes)
            accuracy = replace(accuracy, per_class=table)
        if self.wanted.confused:
            accuracy = replace(accuracy, confused=confusions(self.evaluation, predictions))
        return replace(accuracy, dataset=self.dataset)

    def _pace(self, engine: Engine, predictions: Predictions) -> Pace:
        side_by_side = self.settings.workers if engine.info.parallel_runs else 1
        n = len(self.evaluation.images)
        return Pace(
            seconds=self.evaluation.wall_s,
            images_per_s=n / self.evaluation.wall_s,
            engine_images_per_s=n * side_by_side / predictions.run_s,
            workers=self.settings.workers,
        )


def _dataset(evaluation: Evaluation, source: LabelledImages) -> Dataset:
    counted = select(source, evaluation.images, source.name)
    return Dataset(name=source.name, fingerprint=fingerprint(counted), images=len(source), bad=evaluation.bad)

"""Runs the matrix network by network; a cell that fails is named with its reason, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from edgecnn.artifact import Artifact
from edgecnn.bench import BenchPlan, run_bench
from edgecnn.compare.accuracy import AccuracyPass, Contestant
from edgecnn.compare.artifacts import made_artifact
from edgecnn.compare.cells import Cell, Making, cells_of
from edgecnn.compare.gates import quantisation_gate
from edgecnn.compare.identity import content, identity
from edgecnn.compare.plan import ComparePlan, Subject
from edgecnn.compare.store import Store, key_of
from edgecnn.engines.choice import parse_choice
from edgecnn.environment import describe_environment
from edgecnn.errors import EdgecnnError, UsageError
from edgecnn.reports.class_names import ClassNames
from edgecnn.reports.result import Accuracy, Gate, Result, ResultFile, Variant

__all__ = ["MatrixOutcome", "run_matrix"]

#: Told what happens, and how much of the whole is done, from 0 to 1.
Observe = Callable[[str, float], None]

#: How long the steps of a network take, roughly, in the unit of the benchmark of one cell.
_QUANTISE, _VALIDATE, _BENCH = 10.0, 2.0, 1.0


@dataclass(frozen=True, slots=True)
class MatrixOutcome:
    """What came of it.

    Attributes:
        document: a result for each cell, in the order of networks, engines and precisions.
        left_out: what there cannot be, and why.
        problems: accuracies that could not be measured, and why; the speed then still was.
        remembered: how many results have their speed and memory from an earlier run.
        classes: what the classes of each network are called, by the sha256 of its float artifact.
    """

    document: ResultFile
    left_out: tuple[str, ...]
    problems: tuple[str, ...]
    remembered: int
    classes: ClassNames

    @property
    def failed(self) -> bool:
        """Whether anything that was asked for is missing."""
        return bool(self.problems) or any(result.error is not None for result in self.document.results)


def run_matrix(plan: ComparePlan, observe: Observe = lambda _text, _share: None) -> MatrixOutcome:
    """Quantise, validate and benchmark every cell of ``plan``.

    What was made or measured before, of the same content on the same machine with the same libraries, is not
    made again: a run that was interrupted goes on where it was. The cells of one network are measured in
    alternation, against the first of them.

    Raises:
        UsageError: there can be none of the cells.
        ResultError: the folder cannot be written.
    """
    environment = describe_environment()
    store = Store(plan.folder / "cells", environment, plan.fresh)
    cells, left_out = cells_of(plan)
    if not cells:
        raise UsageError(
            f"There is nothing to compare: {'; '.join(left_out)}", "Name other engines or precisions."
        )
    progress = _Progress(observe, plan, cells)
    results: list[Result] = []
    problems: list[str] = []
    remembered = 0
    for subject in plan.subjects:
        row = _Row(plan, subject, store, progress)
        results += row.results(cells)
        problems += row.problems
        remembered += row.remembered
    observe("Done", 1.0)
    document = ResultFile(environment=environment, results=tuple(results))
    return MatrixOutcome(document, left_out, tuple(problems), remembered, _classes(plan))


def _classes(plan: ComparePlan) -> ClassNames:
    artifacts = [subject.artifact for subject in plan.subjects]
    return {each.sha256(): each.spec.classes for each in artifacts if each is not None}


@dataclass(slots=True)
class _Progress:
    """Adds up what is done."""

    observe: Observe
    plan: ComparePlan
    cells: Sequence[Cell]
    done: float = 0.0

    @property
    def total(self) -> float:
        makings = {cell.making for cell in self.cells} - {None}
        each = _QUANTISE * len(makings) + len(self.cells) * (_BENCH + (_VALIDATE if self.plan.data else 0))
        return max(1.0, each * len(self.plan.subjects))

    def add(self, text: str, steps: float) -> None:
        self.done += steps
        self.observe(text, min(1.0, self.done / self.total))


@dataclass(slots=True)
class _Row:
    """The cells of one network."""

    plan: ComparePlan
    subject: Subject
    store: Store
    progress: _Progress
    failures: dict[Cell, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remembered: int = 0

    def results(self, cells: Sequence[Cell]) -> list[Result]:
        if self.subject.artifact is None:
            return [self._failed(cell, None, self.subject.error or "It was not exported.") for cell in cells]
        artifacts = self._artifacts(self.subject.artifact, cells)
        accuracies = self._accuracies(self.subject.artifact, artifacts) if self.plan.data else {}
        measured = self._benchmarks(artifacts)
        return [self._joined(cell, artifacts.get(cell), measured, accuracies) for cell in cells]

    def _artifacts(self, base: Artifact, cells: Sequence[Cell]) -> dict[Cell, Artifact]:
        made: dict[Making | None, Artifact] = {None: base}
        reasons: dict[Making, str] = {}
        for making in dict.fromkeys(cell.making for cell in cells):
            if making is None:
                continue
            self._say(f"quantising for {making.target} ({making.recipe})", 0)
            try:
                made[making] = made_artifact(base, making, self.plan, lambda text: self._say(text, 0))
            except EdgecnnError as error:
                reasons[making] = str(error)
            self._say(f"quantised for {making.target}", _QUANTISE)
        for cell in cells:
            if cell.making is not None and cell.making in reasons:
                self.failures[cell] = reasons[cell.making]
        return {cell: made[cell.making] for cell in cells if cell.making in made}

    def _accuracies(self, base: Artifact, artifacts: dict[Cell, Artifact]) -> dict[Cell, Result]:
        """Of the cells that could be validated."""
        assert self.plan.data is not None
        count = len(self.plan.data)
        tell = self._following(
            f"validating {len(artifacts)} variants on {count} images", _VALIDATE * len(artifacts)
        )
        seen = 0

        def advance(images: int) -> None:
            nonlocal seen
            seen += images
            tell(seen / count)

        run = AccuracyPass(
            self.plan.data, self.plan.classes, self.store, Contestant(base, parse_choice("ort"))
        )
        contestants = [Contestant(artifact, cell.choice) for cell, artifact in artifacts.items()]
        found: dict[Cell, Result] = {}
        try:
            results = run.results(contestants, advance)
        except EdgecnnError as error:
            self.problems.append(f"The accuracy of {self.subject.name} could not be measured. {error}")
            results = []
        for cell, result in zip(artifacts, results, strict=False):
            if isinstance(result, EdgecnnError):
                self.failures[cell] = str(result)
            else:
                found[cell] = result
        tell(1.0)
        return found

    def _benchmarks(self, artifacts: dict[Cell, Artifact]) -> dict[Cell, Result]:
        sound = {cell: artifact for cell, artifact in artifacts.items() if cell not in self.failures}
        if not sound:
            return {}
        plan = BenchPlan(
            pairs=tuple((artifact, cell.choice) for cell, artifact in sound.items()),
            batches=(self.plan.batch,),
            threads=() if self.plan.threads is None else (self.plan.threads,),
            duration_s=self.plan.duration_s,
            memory=self.plan.memory,
        )
        measured = [(content(artifact), identity(cell.choice)) for cell, artifact in sound.items()]
        settings = (plan.batches, plan.threads, plan.duration_s, plan.memory)
        key = key_of("bench", measured, settings, self.store.machine())
        if known := self.store.known(key):
            self._say("speed and memory known from an earlier run", _BENCH * len(artifacts))
            found = _dated(known)
            self.remembered = len(found)
        else:
            tell = self._following(f"measuring {len(sound)} variants in turns", _BENCH * len(artifacts))
            found = tuple(run_bench(plan, lambda _text, share: tell(share)))
            tell(1.0)
            if all(result.error is None for result in found):
                self.store.keep(key, found)
        return dict(zip(sound, found, strict=True))

    def _joined(
        self,
        cell: Cell,
        artifact: Artifact | None,
        measured: dict[Cell, Result],
        accuracies: dict[Cell, Result],
    ) -> Result:
        if cell in self.failures or cell not in measured:
            return self._failed(cell, artifact, self.failures.get(cell, "It was not measured."))
        result = measured[cell]
        if artifact is not None:  # what is remembered may be of the same content at another place
            result = replace(result, variant=replace(result.variant, artifact=str(artifact.path)))
        if (accuracy := accuracies.get(cell)) is not None:
            result = replace(result, accuracy=accuracy.accuracy, pace=accuracy.pace)
        return replace(result, gates=self._gates(cell, artifact, result.accuracy))

    def _gates(self, cell: Cell, artifact: Artifact | None, accuracy: Accuracy | None) -> tuple[Gate, ...]:
        if artifact is None or cell.making is None:
            return ()
        gate = quantisation_gate(artifact, accuracy, self.plan.max_drop)
        return () if gate is None else (gate,)

    def _failed(self, cell: Cell, artifact: Artifact | None, reason: str) -> Result:
        known = artifact or self.subject.artifact
        variant = Variant(
            network=PurePath(self.subject.name).stem if known is None else known.spec.network,
            artifact=self.subject.name if known is None else str(known.path),
            sha256="" if known is None else known.sha256(),
            precision=cell.precision,
            engine=cell.choice.name,
            batch=self.plan.batch,
            options=cell.choice.other_options,
        )
        return Result(variant=variant, error=reason)

    def _following(self, text: str, steps: float) -> Callable[[float], None]:
        """Say ``text``; what comes back is told which share of ``steps`` is done, from 0 to 1."""
        done = 0.0

        def tell(share: float) -> None:
            nonlocal done
            more = max(0.0, steps * min(share, 1.0) - done)
            done += more
            self._say(text, more)

        tell(0.0)
        return tell

    def _say(self, text: str, steps: float) -> None:
        self.progress.add(f"{self.subject.name}: {text}", steps)


def _dated(document: ResultFile) -> tuple[Result, ...]:
    """The results of an earlier run, which say so."""
    note = f"Its speed and memory are from an earlier run, of {document.environment.started}."
    return tuple(replace(result, warnings=(*result.warnings, note)) for result in document.results)

"""The accuracy of the cells of one network: each image is decoded once and runs in all that is not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.compare.identity import content, identity
from edgecnn.compare.store import Store, key_of
from edgecnn.data import LabelledImages, fingerprint, map_labels
from edgecnn.engines import Engine
from edgecnn.engines.choice import EngineChoice
from edgecnn.environment import usable_cores
from edgecnn.errors import EdgecnnError, EngineError
from edgecnn.reports.result import Result, Variant
from edgecnn.reports.variant import variant_of
from edgecnn.validate import PassSettings, Wanted, evaluate, measured_results, open_for_pass

__all__ = ["AccuracyPass", "Contestant"]

#: Images per run of a pass.
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Contestant:
    """An artifact and what runs it."""

    artifact: Artifact
    choice: EngineChoice


@dataclass(frozen=True, slots=True)
class AccuracyPass:
    """Measures accuracy against a reference.

    Attributes:
        source: the images.
        classes: table from WordNet ids to class indices; None to find it by itself.
        store: of what is known.
        reference: what the others are compared with, image by image.
    """

    source: LabelledImages
    classes: Path | None
    store: Store
    reference: Contestant

    def results(
        self, contestants: Sequence[Contestant], advance: Callable[[int], None] = lambda _: None
    ) -> list[Result | EdgecnnError]:
        """A result for each of ``contestants``, or why there is none.

        Args:
            contestants: what to measure; the reference may be among them.
            advance: told how many more images are done.

        Raises:
            EdgecnnError: the reference does not run, or the images cannot be used.
        """
        labels = map_labels(self.source, self.reference.artifact.spec.classes, self.classes)
        images = key_of(fingerprint(self.source), labels.tolist())
        keys = [self._key(contestant, images) for contestant in contestants]
        found: dict[str, Result | EdgecnnError] = {}
        for key in keys:
            if known := self.store.known(key):
                found[key] = known.results[0]
        missing = {key: each for key, each in zip(keys, contestants, strict=True) if key not in found}
        if missing:
            measure = _Measure(self, self._key(self.reference, images), labels, advance)
            found |= measure.together_or_alone(missing)
        return [found[key] for key in keys]

    def _key(self, contestant: Contestant, images: str) -> str:
        both = [(content(each.artifact), identity(each.choice)) for each in (self.reference, contestant)]
        return key_of("accuracy", both, images, self.store.machine())


@dataclass(frozen=True, slots=True)
class _Measure:
    """Measures what is not known.

    Attributes:
        run: what to measure on, and against what.
        reference_key: of the reference's own result.
        labels: (n,) the model's class index of each image.
        advance: told how many more images are done.
    """

    run: AccuracyPass
    reference_key: str
    labels: NDArray[np.int64]
    advance: Callable[[int], None]

    def together_or_alone(self, missing: Mapping[str, Contestant]) -> dict[str, Result | EdgecnnError]:
        """A result for each of ``missing`` in one pass; where an engine fails on the way, one pass each.

        Raises:
            EdgecnnError: the reference fails, or the images cannot be used.
        """
        try:
            return self._together(missing)
        except EngineError:
            found = self._together({})
        for key, contestant in missing.items():
            if key in found:
                continue
            try:
                found |= self._together({key: contestant})
            except EngineError as error:
                found[key] = error
        return found

    def _together(self, missing: Mapping[str, Contestant]) -> dict[str, Result | EdgecnnError]:
        run = self.run
        settings = PassSettings(batch=_BATCH, workers=usable_cores())
        found: dict[str, Result | EdgecnnError] = {}
        with ExitStack() as stack:
            open_now = [(self.reference_key, run.reference, _opened(run.reference, settings, stack))]
            for key, contestant in missing.items():
                if key == self.reference_key:
                    continue
                try:
                    open_now.append((key, contestant, _opened(contestant, settings, stack)))
                except EdgecnnError as error:
                    found[key] = error
            engines = [engine for _, _, engine in open_now]
            evaluation = evaluate(
                engines, run.source, self.labels, settings, paired=True, observer=self.advance
            )
            variants = [(_variant(each, engine), engine) for _, each, engine in open_now]
            wanted = Wanted(paired=True, confused=True)
            results = measured_results(evaluation, variants, run.source, settings, wanted)
        for (key, _, _), result in zip(open_now, results, strict=True):
            run.store.keep(key, (result,))
            found[key] = result
        return found


def _opened(contestant: Contestant, settings: PassSettings, stack: ExitStack) -> Engine:
    return stack.enter_context(open_for_pass(contestant.choice.text, contestant.artifact, settings))


def _variant(contestant: Contestant, engine: Engine) -> Variant:
    choice = contestant.choice
    return variant_of(contestant.artifact, engine.info, choice.options.batch or _BATCH, choice)

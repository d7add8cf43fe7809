"""Accuracy of the cells of one network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from edgecnn.compare.accuracy import AccuracyPass, Contestant
from edgecnn.compare.store import Store
from edgecnn.engines import EngineOptions
from edgecnn.engines.base import EngineInfo
from edgecnn.engines.choice import parse_choice
from edgecnn.engines.ort import OrtEngine
from edgecnn.environment import describe_environment
from edgecnn.errors import DataError, EdgecnnError, EngineError
from edgecnn.reports.result import Result

Make = Callable[..., Any]


class Overflowing(OrtEngine):
    """Right on the empty batch that opens a pass, no number on images."""

    understands: ClassVar[frozenset[str]] = frozenset({"threads"})

    @classmethod
    def check(cls) -> EngineInfo:
        return OrtEngine.check()

    def run(self, batch: Any) -> Any:
        scores = super().run(batch)
        return scores if not batch.any() else np.full_like(scores, np.nan)


OVERFLOWING = f"{__name__}:Overflowing"


@pytest.fixture
def start(artifact: Make, images: Make, tmp_path: Path) -> Make:
    """A pass against "reader" in ort, whose results are kept."""

    def make(**more: Any) -> AccuracyPass:
        reference = Contestant(artifact("reader"), parse_choice("ort"))
        known: dict[str, Any] = {
            "source": images([1, 2, 3, 4], stated=[1, 2, 3, 5]),
            "classes": None,
            "store": Store(tmp_path / "cells", describe_environment()),
            "reference": reference,
        }
        return AccuracyPass(**(known | more))

    return make


def _top1(result: Result | EdgecnnError) -> float:
    assert isinstance(result, Result)
    assert result.accuracy is not None
    return result.accuracy.top1


def test_results_are_in_order_and_paired_with_the_reference(start: Make, artifact: Make) -> None:
    run = start()
    shifted = Contestant(artifact("shifted", shift=1), parse_choice("ort"))
    other = Contestant(run.reference.artifact, parse_choice("ort:arena=off"))
    seen: list[int] = []
    results = run.results([shifted, run.reference, other], seen.append)
    assert [_top1(each) for each in results] == [0.0, 75.0, 75.0]
    assert sum(seen) == 4
    flips = results[0].accuracy.flips
    assert (flips.gained, flips.lost) == (0, 3)
    assert results[1].accuracy.reference is None
    assert results[2].variant.options == "arena=off"


def test_the_reference_need_not_be_asked_for(start: Make, artifact: Make) -> None:
    run = start()
    (result,) = run.results([Contestant(artifact("shifted", shift=-1), parse_choice("ort"))])
    assert _top1(result) == 25.0
    assert result.accuracy.reference.artifact == str(run.reference.artifact.path)


def test_what_is_known_is_not_run_again(start: Make, artifact: Make) -> None:
    run = start()
    (first,) = run.results([run.reference])
    seen: list[int] = []
    assert run.results([run.reference], seen.append) == [first]
    assert seen == []
    shifted = Contestant(artifact("shifted", shift=1), parse_choice("ort"))
    run.results([run.reference, shifted], seen.append)
    assert sum(seen) == 4


def test_an_engine_that_does_not_open_is_named(start: Make) -> None:
    run = start()
    broken = Contestant(run.reference.artifact, parse_choice(f"{__name__}:Closed"))
    good, bad = run.results([run.reference, broken])
    assert _top1(good) == 75.0
    assert isinstance(bad, EngineError)


def test_an_engine_that_fails_on_the_way_fails_alone(start: Make, artifact: Make) -> None:
    run = start()
    shifted = Contestant(artifact("shifted", shift=1), parse_choice("ort"))
    broken = Contestant(run.reference.artifact, parse_choice(OVERFLOWING))
    good, bad, other = run.results([run.reference, broken, shifted])
    assert (_top1(good), _top1(other)) == (75.0, 0.0)
    assert isinstance(bad, EngineError)


def test_a_reference_that_fails_is_told(start: Make, artifact: Make) -> None:
    reference = Contestant(artifact(), parse_choice(OVERFLOWING))
    run = start(reference=reference)
    with pytest.raises(EngineError):
        run.results([Contestant(reference.artifact, parse_choice("ort"))])


def test_labels_that_do_not_fit_are_told(start: Make, images: Make) -> None:
    run = start(source=images([0], classes=["cat"]))
    with pytest.raises(DataError, match="no class 'cat'"):
        run.results([run.reference])


class Closed(OrtEngine):
    def __init__(self, *_: object) -> None:
        raise EngineError("It is closed.", "Open it.")


def test_the_plug_ins_of_these_tests_are_engines() -> None:
    assert parse_choice(f"{OVERFLOWING}:threads=1").options == EngineOptions(threads=1)

"""What is asked for, and what decides a plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgecnn.artifact import Artifact
from edgecnn.plans.flavour import TRT_RTX
from edgecnn.plans.options import DEFAULT_BATCHES, BuildOptions, profile_of, settle
from edgecnn.plans.spec import Batches


@pytest.mark.parametrize(
    ("sizes", "profile"),
    [
        ((1, 8, 32), (1, 8, 32)),
        ((32, 8, 1), (1, 8, 32)),
        ((8,), (1, 8, 8)),
        ((1, 32), (1, 32, 32)),
        ((1,), (1, 1, 1)),
    ],
)
def test_the_profile_is_tuned_for_the_middle(sizes: tuple[int, ...], profile: tuple[int, int, int]) -> None:
    least, best, most = profile
    assert profile_of(sizes) == Batches(min=least, opt=best, max=most)


@pytest.mark.parametrize("wrong", [(0, 1, 2), (2, 1, 2), (1, 3, 2)])
def test_a_profile_is_in_order(wrong: tuple[int, int, int]) -> None:
    least, best, most = wrong
    with pytest.raises(ValueError, match="min <= opt <= max"):
        Batches(min=least, opt=best, max=most)


def test_nothing_is_left_open(tiny: Artifact) -> None:
    settled = settle(tiny, BuildOptions())
    assert (settled.precision, settled.batches) == ("fp32", DEFAULT_BATCHES)
    assert settle(tiny, settled) == settled


DECISIVE = {
    "flavour": TRT_RTX,
    "precision": "fp16",
    "batches": Batches(min=1, opt=1, max=1),
    "workspace_bytes": 1,
    "version_compatible": True,
    "hardware": "same",
}


@pytest.mark.parametrize("name", DECISIVE)
def test_what_decides_a_plan_changes_its_digest(name: str) -> None:
    changed = replace(BuildOptions(), **{name: DECISIVE[name]})  # type: ignore[arg-type]
    assert changed.digest() != BuildOptions().digest()


def test_what_does_not_decide_it_changes_nothing() -> None:
    assert BuildOptions(timing_cache=Path("t"), device=1, timeout_s=3).digest() == BuildOptions().digest()

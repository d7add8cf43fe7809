"""Limits that did not hold, in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgecnn.reports.missed import excused, missed
from edgecnn.reports.result import Gate, Result, Variant


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "latency_bound_ms",
            "The 99th percentile of latency is 131.16 ms; --latency-bound-ms allows 1.5.",
        ),
        ("qps", "It cannot keep up with 1.5 queries/s: it answers 131.2 a second at most."),
        (
            "duration",
            "131.16 s are too short to tell the 99th percentile of latency at this --qps, so that "
            "--latency-bound-ms was not tested: give it a --duration of at least 1.5 s.",
        ),
        ("max_drop", "Top-1 is 131.16 points below the float model's; --max-drop allows 1.5."),
        ("some_other", "some_other is 131.16; the limit is 1.5."),
    ],
)
def test_a_limit_that_did_not_hold_is_told_and_one_that_did_is_not(
    name: str, sentence: str, variant: Callable[..., Variant]
) -> None:
    gates = (
        Gate(name=name, limit=1.5, value=131.16, held=False),
        Gate(name=name, limit=1.5, value=1.0, held=True),
    )
    assert missed(Result(variant=variant(), gates=gates)) == (sentence,)


def test_a_drop_that_chance_explains_is_told_apart(variant: Callable[..., Variant]) -> None:
    gates = (
        Gate(name="max_drop", limit=0.5, value=2.0, held=True),
        Gate(name="max_drop", limit=0.5, value=0.5, held=True),
        Gate(name="max_drop", limit=0.5, value=3.0, held=False),
        Gate(name="min_speedup", limit=1.0, value=2.0, held=True),
    )
    (sentence,) = excused(Result(variant=variant(), gates=gates))
    assert sentence.startswith("top-1 is 2.00 points lower, more than the 0.5 allowed, but within chance")

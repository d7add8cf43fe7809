from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.reports.limits import Limits, Objective
from edgecnn.reports.pick import Choice, choose
from edgecnn.reports.pick_text import explain, explain_miss
from edgecnn.reports.result import (
    Accuracy,
    Flips,
    Interval,
    LatencyMs,
    MemoryBytes,
    PercentilesCi95,
    Result,
    ResultFile,
    Variant,
)
from edgecnn.reports.rows import Row

MakeVariant = Callable[..., Variant]


def result(
    variant: Variant,
    ms: float | None = None,
    top1: float | None = None,
    *,
    peak: int | None = None,
    file: int | None = None,
    throughput: float | None = None,
    ci95: Interval | None = None,
) -> Result:
    return Result(
        variant=variant,
        latency_ms=None
        if ms is None
        else LatencyMs(p50=ms / 2, p90=ms, ci95=None if ci95 is None else PercentilesCi95(p90=ci95)),
        accuracy=None if top1 is None else Accuracy(n=100, top1=top1, top1_ci95=(top1 - 5, top1 + 5)),
        memory_bytes=MemoryBytes(peak=peak, file=file),
        throughput_per_s=throughput,
    )


@pytest.fixture
def three(variant: MakeVariant) -> list[Result]:
    """Slow and right, middling, and fast and wrong."""
    return [
        result(variant(), 10, 75, peak=200_000_000, file=14_000_000, throughput=100),
        result(variant(precision="bf16"), 6, 74.5, peak=200_000_000, file=14_000_000, throughput=180),
        result(variant(precision="int8"), 4, 72, peak=90_000_000, file=4_000_000, throughput=150),
    ]


def _precision(row: Row | None) -> str | None:
    return None if row is None else row.result.variant.precision


@pytest.mark.parametrize(
    ("limits", "objective", "picked", "second"),
    [
        (Limits(), "latency", "int8", "bf16"),
        (Limits(max_drop=1.0), "latency", "bf16", "fp32"),
        (Limits(max_drop=0.0), "latency", "fp32", None),
        (Limits(min_top1=74.6), "latency", "fp32", None),
        (Limits(max_memory_mb=100), "accuracy", "int8", None),
        (Limits(max_latency_ms=6), "accuracy", "bf16", "int8"),
        (Limits(max_size_mb=14), "accuracy", "fp32", "bf16"),
        (Limits(), "throughput", "bf16", "int8"),
        (Limits(), "size", "int8", "fp32"),
        (Limits(max_latency_ms=3, percentile="p50"), "accuracy", "bf16", "int8"),
    ],
)
def test_the_best_that_holds_every_limit(
    limits: Limits, objective: Objective, picked: str, second: str | None, three: list[Result]
) -> None:
    choice = choose(three, limits, objective)
    assert (_precision(choice.pick), _precision(choice.runner_up)) == (picked, second)


LIMITS = st.builds(
    Limits,
    max_latency_ms=st.none() | st.floats(0.5, 30),
    max_memory_mb=st.none() | st.floats(50, 300),
    max_drop=st.none() | st.floats(0, 2),
    min_top1=st.none() | st.floats(50, 80),
    max_size_mb=st.none() | st.floats(1, 50),
)


@given(limits=LIMITS, objective=st.sampled_from(["latency", "throughput", "accuracy", "size"]))
def test_the_pick_is_feasible_and_no_feasible_one_is_better(
    comparison: ResultFile, limits: Limits, objective: Objective
) -> None:
    choice = choose(comparison.results, limits, objective)
    if choice.pick is None:
        assert choice.feasible == 0
        assert choice.nearest is None or choice.nearest.misses
        return
    assert all(constraint.holds(choice.pick) for constraint in choice.constraints)
    best = choice.objective.read(choice.pick)
    everything = choose(comparison.results, Limits(), objective)
    assert everything.pick is not None
    top = everything.objective.read(everything.pick)
    assert best is not None
    assert top is not None
    assert best >= top if choice.objective.better == "lower" else best <= top
    assert all(cost.gain is not None and cost.gain >= 0 for cost in choice.costs)


def test_what_each_limit_costs(three: list[Result]) -> None:
    choice = choose(three, Limits(max_drop=1.0, max_latency_ms=9), "latency")
    drop = next(cost for cost in choice.costs if cost.constraint.name == "max_drop")
    latency = next(cost for cost in choice.costs if cost.constraint.name == "max_latency_ms")
    assert (_precision(drop.without), drop.gain, drop.needed) == ("int8", 2.0, 3.0)
    assert latency.gain == 0
    text = "\n".join(explain(choice))
    assert "--max-drop 1: costs 2 ms of latency (p90); without it: mobilenet_v2 int8 ort" in text
    assert "--max-latency-ms 9: costs nothing" in text


def test_when_nothing_fits_the_nearest_miss_is_named_and_what_one_limit_would_have_to_be(
    three: list[Result],
) -> None:
    choice = choose(three, Limits(max_latency_ms=5, min_top1=74), "latency")
    assert choice.pick is None
    assert choice.nearest is not None
    (miss,) = choice.nearest.misses
    # 2 points of 74 % are nearer than 1 ms of 5 ms.
    assert (_precision(choice.nearest.row), miss.constraint.name, miss.excess) == ("int8", "min_top1", 2.0)
    assert {cost.constraint.name: cost.needed for cost in choice.costs} == {
        "max_latency_ms": 6.0,
        "min_top1": 72.0,
    }
    assert "top-1 72 %, 2 points beyond --min-top1 74" in explain_miss(choice)


def test_what_was_not_measured_does_not_hold_a_limit_and_that_is_said(variant: MakeVariant) -> None:
    results = [
        result(variant(), 10, 75, peak=1),
        result(variant(precision="int8"), 4, peak=1),
        Result(variant=variant(precision="bf16"), error="no such hint"),
    ]
    choice = choose(results, Limits(max_drop=1.0), "latency")
    assert _precision(choice.pick) == "fp32"
    assert [one.reason for one in choice.unknown] == [
        "not measured: top-1 drop against fp32",
        "failed: no such hint",
    ]
    assert _precision(choose(results, Limits(), "latency").pick) == "int8"


def test_without_any_figure_nothing_is_picked(variant: MakeVariant) -> None:
    choice = choose([result(variant())], Limits(max_memory_mb=1), "latency")
    assert (choice.pick, choice.nearest) == (None, None)
    assert "None has all the figures" in explain_miss(choice)
    assert "has a measured latency" in explain_miss(choose([], Limits(), "latency"))


@pytest.mark.parametrize(("ci95", "noise"), [((3.9, 4.2), True), ((3.9, 4.0), False), (None, None)])
def test_a_runner_up_within_noise_is_called_that(
    ci95: Interval | None, noise: bool | None, variant: MakeVariant
) -> None:
    results = [
        result(variant(), 4.2, ci95=(4.1, 4.3)),
        result(variant(precision="int8"), 4.0, ci95=ci95),
    ]
    choice = choose(results, Limits(), "latency")
    assert choice.within_noise is noise
    assert ("cannot be told apart" in "\n".join(explain(choice))) is bool(noise)


def _paired(variant: MakeVariant, reference: Variant, **other: Any) -> Result:
    accuracy = Accuracy(
        n=200, top1=60.0, top1_ci95=(53, 67), reference=reference, flips=Flips(gained=1, lost=4)
    )
    return Result(variant=variant(**other), accuracy=accuracy, latency_ms=LatencyMs(p50=1, p90=1))


def _drop(choice: Choice) -> float | None:
    assert choice.pick is not None
    return choice.pick.drop


def test_the_drop_is_paired_where_it_was_measured_so(variant: MakeVariant) -> None:
    paired = _paired(variant, variant(), precision="int8")
    assert _drop(choose([paired], Limits(), "latency")) == pytest.approx(1.5)


def test_the_drop_against_another_network_is_none_of_its_own(variant: MakeVariant) -> None:
    other = _paired(variant, variant("resnet18"), precision="int8")
    assert _drop(choose([other], Limits(), "latency")) is None
    fp32 = result(variant(), 9, 60.5)
    assert _drop(choose([other, fp32], Limits(), "latency")) == pytest.approx(0.5)


@pytest.mark.parametrize(("lost", "held"), [(4, True), (40, False)])
def test_a_drop_that_chance_explains_is_within_the_limit_and_that_is_said(
    lost: int, held: bool, variant: MakeVariant
) -> None:
    small = _paired(variant, variant(), precision="int8")
    assert small.accuracy is not None
    int8 = replace(small, accuracy=replace(small.accuracy, flips=Flips(gained=1, lost=lost)))
    choice = choose([int8], Limits(max_drop=0.5), "latency")
    assert (choice.pick is not None) == held
    text = "\n".join(explain(choice))
    assert (
        "top-1 drop against fp32 of 1.5 points is more than --max-drop 0.5, but within chance" in text
    ) == held
    if not held:
        assert "top-1 drop against fp32 19.5 points, 19 points beyond --max-drop 0.5" in explain_miss(choice)
        (cost,) = choice.costs
        assert cost.needed == pytest.approx(13.4, abs=0.2)  # the lower end of the interval
        assert choose([int8], Limits(max_drop=cost.needed), "latency").pick is not None


def test_between_runs_that_were_not_paired_the_drop_counts_as_it_is(variant: MakeVariant) -> None:
    results = [result(variant(), 9, 75), result(variant(precision="int8"), 4, 74)]
    assert _precision(choose(results, Limits(max_drop=0.5), "latency").pick) == "fp32"

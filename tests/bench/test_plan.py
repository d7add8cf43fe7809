"""What a benchmark may ask for, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import Artifact
from edgecnn.bench import BenchPlan
from edgecnn.engines.choice import parse_choice
from edgecnn.errors import UsageError

Make = Callable[..., Artifact]


def _plan(*models: Artifact, engines: tuple[str, ...] = ("ort",), **options: Any) -> BenchPlan:
    return BenchPlan(models=models, engines=tuple(map(parse_choice, engines)), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"duration_s": 0}, "--duration is 0"),
        ({"duration_s": -3.0}, "--duration is -3"),
        ({"duration_s": float("nan")}, "--duration is nan"),
        ({"duration_s": float("inf")}, "--duration is inf"),
        ({"batches": (1, 0)}, "--batch is 0"),
        ({"threads": (-1,)}, "--threads is -1"),
        ({"instances": 0}, "--instances is 0"),
        ({"scenario": "server"}, "Pass --qps"),
        ({"scenario": "server", "target_qps": 0.0}, "--qps is 0"),
        ({"scenario": "server", "target_qps": 5.0, "latency_bound_ms": -1.0}, "--latency-bound-ms is -1"),
        ({"scenario": "server", "target_qps": 5.0, "batches": (8,)}, "one image"),
        ({"target_qps": 5.0}, "server scenario"),
        ({"latency_bound_ms": 5.0}, "server scenario"),
        ({"instances": 2}, "one query at a time"),
        ({"scenario": "multi", "batches": (3,)}, "1, 2, 4 or 8"),
        ({"driver": "loadgen"}, "Pass --logs"),
        ({"driver": "loadgen", "logs": Path("l"), "batches": (8,)}, "one image"),
        ({"driver": "loadgen", "logs": Path("l"), "baseline": "tiny"}, "no ratio to a baseline"),
        ({"scenario": "server", "target_qps": 5.0, "baseline": "tiny"}, "no ratio to a baseline"),
        ({"logs": Path("l")}, "Only LoadGen writes logs"),
        ({"baseline": "resnet50"}, "No variant fits the baseline 'resnet50'"),
        ({"engines": ("ort:threads=1",), "threads": (2,)}, "both say how many threads"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(artifact: Make, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        _plan(artifact(), **options)
    assert said in str(caught.value)


def test_nothing_to_measure_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="nothing to measure"):
        _plan()


def test_variants_are_all_combinations_each_once(artifact: Make) -> None:
    one, other = artifact("one"), artifact("other")
    plan = _plan(one, other, one, engines=("ort", "ort"), batches=(1, 8), threads=(1, 2))
    found = [
        (each.artifact.spec.network, each.choice.text, each.batch, each.choice.options.threads)
        for each in plan.variants
    ]
    assert found == [
        (network, f"ort:threads={threads}", batch, threads)
        for network in ("one", "other")
        for threads in (1, 2)
        for batch in (1, 8)
    ]


def test_without_a_batch_it_is_one_or_the_models_own(artifact: Make) -> None:
    plan = _plan(artifact("any"), artifact("eight", batch=8))
    assert [each.batch for each in plan.variants] == [1, 8]


def test_instances_share_the_cores(artifact: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecnn.bench.plan.usable_cores", lambda: 8)
    (variant,) = _plan(artifact(), scenario="offline", instances=3).variants
    assert variant.choice.options.threads == 2
    (variant,) = _plan(artifact(), scenario="offline", instances=3, engines=("ort:threads=5",)).variants
    assert variant.choice.options.threads == 5


@pytest.mark.parametrize(
    ("words", "index"),
    [
        (None, 0),
        ("b.onnx", 4),
        ("b batch=8", 5),
        ("int8", 4),
        ("ort:threads=1", 2),
        ("b threads=1 batch=8", 7),
    ],
)
def test_the_baseline_is_the_first_that_its_words_fit(artifact: Make, words: str | None, index: int) -> None:
    models = artifact("a"), artifact("b", precision="int8")
    plan = _plan(*models, engines=("ort", "ort:threads=1"), batches=(1, 8), baseline=words)
    assert plan.baseline_index == index

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgecnn.errors import UsageError
from edgecnn.reports.join import join
from edgecnn.reports.result import (
    Accuracy,
    LatencyMs,
    MemoryBytes,
    Result,
    ResultFile,
    Scenario,
    Variant,
)

MakeVariant = Callable[..., Variant]
MakeFile = Callable[..., ResultFile]
ACCURACY = Accuracy(n=100, top1=70.0, top1_ci95=(60.0, 78.0))
LATENCY = LatencyMs(p50=3.0, p90=3.5)
SINGLE = Scenario(name="single", driver="built-in", duration_s=1.0)


def test_validate_and_bench_of_one_variant_become_one_result(variant: MakeVariant, file: MakeFile) -> None:
    validated = Result(variant=variant(), accuracy=ACCURACY)
    timed = Result(variant=variant(), latency_ms=LATENCY, memory_bytes=MemoryBytes(file=9, peak=50))
    (only,) = join([file(validated), file(timed)]).results
    assert (only.accuracy, only.latency_ms, only.memory_bytes) == (ACCURACY, LATENCY, timed.memory_bytes)


def test_accuracy_is_lent_to_other_batches_threads_and_loads_of_the_same_file(
    variant: MakeVariant, file: MakeFile
) -> None:
    validated = Result(variant=variant(batch=8, threads=2), accuracy=ACCURACY)
    single = Result(variant=variant(batch=1, threads=1), scenario=SINGLE, latency_ms=LATENCY)
    offline = replace(single, scenario=replace(SINGLE, name="offline"), throughput_per_s=300.0)
    joined = join([file(validated), file(single, offline)])
    assert [result.accuracy for result in joined.results] == [ACCURACY, ACCURACY]
    assert [result.scenario and result.scenario.name for result in joined.results] == ["single", "offline"]


@pytest.mark.parametrize("other", [{"engine": "openvino"}, {"precision": "bf16"}, {"network": "resnet18"}])
def test_accuracy_of_another_engine_precision_or_file_is_not_lent(
    other: dict[str, str], variant: MakeVariant, file: MakeFile
) -> None:
    timed = Result(variant=variant(**other), latency_ms=LATENCY)
    joined = join([file(Result(variant=variant(), accuracy=ACCURACY)), file(timed)])
    assert [result.accuracy for result in joined.results if result.latency_ms] == [None]


def test_the_later_file_counts_and_measuring_heals_a_failure(variant: MakeVariant, file: MakeFile) -> None:
    failed = Result(variant=variant(), error="no memory")
    later = Result(variant=variant(), latency_ms=replace(LATENCY, p50=2.0))
    assert join([file(failed), file(later)]).results == (later,)
    assert join([file(later), file(failed)]).results[0].error == "no memory"


def test_one_file_stays_as_it_is(comparison: ResultFile) -> None:
    assert join([comparison]) == comparison


def test_speed_of_two_machines_is_refused_but_accuracy_may_come_from_elsewhere(
    variant: MakeVariant, file: MakeFile
) -> None:
    here = file(Result(variant=variant(), latency_ms=LATENCY))
    environment = replace(here.environment, cpu="Cortex-A76", cores=4)
    timed_there = ResultFile(environment=environment, results=here.results)
    with pytest.raises(UsageError, match=r"different machines .*Cortex-A76, 4 cores"):
        join([here, timed_there])
    validated_there = replace(timed_there, results=(Result(variant=variant(), accuracy=ACCURACY),))
    joined = join([here, validated_there])
    assert joined.environment == here.environment
    assert joined.results[0].accuracy == ACCURACY

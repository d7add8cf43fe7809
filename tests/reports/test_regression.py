from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edgecnn.reports.regression import Finding, Tolerances, compare_to_baseline
from edgecnn.reports.result import (
    Accuracy,
    Dataset,
    Interval,
    LatencyMs,
    MemoryBytes,
    PercentilesCi95,
    Result,
    ResultFile,
    Variant,
)
from edgecnn.spec import Precision

MakeVariant = Callable[..., Variant]
MakeFile = Callable[..., ResultFile]


def timed(variant: Variant, p50: float, ci95: Interval | None = None) -> Result:
    intervals = PercentilesCi95(p50=ci95 or (p50 * 0.99, p50 * 1.01))
    return Result(variant=variant, latency_ms=LatencyMs(p50=p50, ci95=intervals))


def right(variant: Variant, top1: float, fingerprint: str = "same", n: int = 1000) -> Result:
    dataset = Dataset(name="d", fingerprint=fingerprint, images=n)
    return Result(variant=variant, accuracy=Accuracy(n=n, top1=top1, top1_ci95=(0, 100), dataset=dataset))


def _findings(old: ResultFile, new: ResultFile, **tolerances: Any) -> tuple[Finding, ...]:
    return compare_to_baseline(old, new, Tolerances(**tolerances)).findings


def test_the_same_results_pass(comparison: ResultFile) -> None:
    compared = compare_to_baseline(comparison, comparison)
    assert (compared.findings, compared.notes) == ((), ())
    assert compared.compared == sum(result.error is None for result in comparison.results)


@pytest.mark.parametrize(
    ("now", "ci95", "slower"),
    [
        (11.0, None, True),
        (11.0, (9.0, 13.0), False),  # the intervals overlap
        (10.4, (10.35, 10.45), False),  # distinct, but within the tolerance
        (8.0, None, False),
    ],
)
def test_slower_is_beyond_both_noise_and_tolerance(
    now: float, ci95: Interval | None, slower: bool, variant: MakeVariant, file: MakeFile
) -> None:
    findings = _findings(file(timed(variant(), 10.0)), file(timed(variant(), now, ci95)))
    assert [finding.kind for finding in findings] == ["slower"] * slower
    if slower:
        assert findings[0].sentence.endswith("latency p50 10 ms -> 11 ms (+10.0 %).")


def test_less_throughput_is_slower(variant: MakeVariant, file: MakeFile) -> None:
    old = Result(variant=variant(), throughput_per_s=100.0, throughput_ci95=(99.0, 101.0))
    new = Result(variant=variant(), throughput_per_s=90.0, throughput_ci95=(89.0, 91.0))
    (finding,) = _findings(file(old), file(new))
    assert (finding.kind, finding.figure, finding.old, finding.new) == ("slower", "throughput", 100.0, 90.0)
    assert not _findings(file(new), file(old))


def test_another_machine_is_said_and_only_what_it_cannot_change_is_compared(
    variant: MakeVariant, file: MakeFile
) -> None:
    old = file(replace(timed(variant(), 10.0), memory_bytes=MemoryBytes(file=1_000_000, peak=10_000_000)))
    slow = replace(timed(variant(), 20.0), memory_bytes=MemoryBytes(file=2_000_000, peak=90_000_000))
    new = replace(file(slow), environment=replace(old.environment, cpu="Cortex-A76"))
    compared = compare_to_baseline(old, new)
    assert [finding.figure for finding in compared.findings] == ["file size"]
    assert "CPU AMD EPYC 9R45 -> Cortex-A76" in compared.notes[0]


@pytest.mark.parametrize(
    ("peak", "bigger"), [(101_000_000, False), (104_000_000, False), (106_000_000, True), (50, False)]
)
def test_memory_has_a_tolerance(peak: int, bigger: bool, variant: MakeVariant, file: MakeFile) -> None:
    old = Result(variant=variant(), memory_bytes=MemoryBytes(peak=100_000_000))
    new = Result(variant=variant(), memory_bytes=MemoryBytes(peak=peak))
    assert [finding.kind for finding in _findings(file(old), file(new))] == ["bigger"] * bigger


@pytest.mark.parametrize(("now", "less"), [(70.0, False), (68.0, False), (62.0, True), (75.0, False)])
def test_accuracy_is_compared_with_its_uncertainty(
    now: float, less: bool, variant: MakeVariant, file: MakeFile
) -> None:
    findings = _findings(file(right(variant(), 70.0)), file(right(variant(), now)))
    assert [finding.kind for finding in findings] == ["less accurate"] * less
    assert not _findings(file(right(variant(), 70.0)), file(right(variant(), now)), accuracy_points=10.0)


def test_other_images_are_not_compared_and_that_is_said(variant: MakeVariant, file: MakeFile) -> None:
    compared = compare_to_baseline(file(right(variant(), 70.0)), file(right(variant(), 10.0, "other")))
    assert compared.findings == ()
    assert "other images" in compared.notes[0]


def test_what_vanished_or_fails_now_is_found(variant: MakeVariant, file: MakeFile) -> None:
    old = file(timed(variant(), 1.0), timed(variant(precision="int8"), 1.0), timed(variant("resnet18"), 1.0))
    failed = Result(variant=variant(precision="int8", threads=None), error="cannot open.")
    findings = _findings(old, file(timed(variant(), 1.0), failed))
    assert {finding.kind for finding in findings} == {"vanished", "fails"}
    assert next(one for one in findings if one.kind == "fails").sentence.endswith("fails now: cannot open.")


def test_what_failed_before_or_is_new_is_no_finding(variant: MakeVariant, file: MakeFile) -> None:
    old = file(Result(variant=variant(), error="cannot open"))
    assert not _findings(old, file())
    assert not _findings(file(), file(timed(variant(), 1.0)))


def test_a_figure_that_is_no_longer_measured_is_said(variant: MakeVariant, file: MakeFile) -> None:
    compared = compare_to_baseline(file(right(variant(), 70.0)), file(Result(variant=variant())))
    assert compared.findings == ()
    assert "has the accuracy of mobilenet_v2 fp32 ort" in compared.notes[0]


def test_a_model_that_was_made_anew_is_the_same_variant(variant: MakeVariant, file: MakeFile) -> None:
    again = replace(variant(), sha256="ff" * 32, artifact="elsewhere/x.onnx")
    assert _findings(file(timed(variant(), 1.0)), file(timed(again, 2.0)))[0].kind == "slower"


def test_two_recipes_of_one_precision_are_told_apart(variant: MakeVariant, file: MakeFile) -> None:
    one = replace(variant(precision="int8"), artifact="mobilenet_v2.naive.onnx", sha256="aa" * 32)
    other = replace(one, artifact="tuned.onnx", sha256="bb" * 32)
    old = file(timed(one, 1.0), timed(other, 2.0))
    new = file(timed(replace(other, sha256="cc" * 32), 2.0), timed(one, 1.0))
    compared = compare_to_baseline(old, new)
    assert (compared.findings, compared.compared) == ((), 2)


@pytest.mark.parametrize(("before", "now"), [("int8", "mixed"), ("mixed", "int8")])
def test_int8_with_some_layers_in_float_is_the_same_variant(
    before: Precision, now: Precision, variant: MakeVariant, file: MakeFile
) -> None:
    """What a request for int8 comes to may differ from run to run."""
    old = file(timed(variant(), 1.0), timed(variant(precision=before), 1.0))
    new = file(timed(variant(), 1.0), timed(variant(precision=now), 2.0))
    compared = compare_to_baseline(old, new)
    assert ([finding.kind for finding in compared.findings], compared.compared) == (["slower"], 2)


def test_int8_and_mixed_of_one_run_are_two_variants(variant: MakeVariant, file: MakeFile) -> None:
    both = file(timed(variant(precision="int8"), 1.0), timed(variant(precision="mixed"), 2.0))
    compared = compare_to_baseline(both, file(*reversed(both.results)))
    assert (compared.findings, compared.compared) == ((), 2)


def test_files_whose_names_begin_with_the_network_are_told_apart(
    variant: MakeVariant, file: MakeFile
) -> None:
    def document(run: str) -> ResultFile:
        one, other = (
            replace(
                variant(precision="int8"), artifact=f"mobilenet_v2-{recipe}-{run * 16}.onnx", sha256=run + ms
            )
            for recipe, ms in (("minmax", "1"), ("auto", "2"))
        )
        return file(timed(one, 1.0), timed(other, 2.0))

    compared = compare_to_baseline(document("a"), document("b"))
    assert (compared.findings, compared.compared) == ((), 2)


def test_it_is_said_how_much_was_compared(variant: MakeVariant, file: MakeFile) -> None:
    both = replace(
        timed(variant(), 1.0), memory_bytes=MemoryBytes(file=5), accuracy=right(variant(), 70).accuracy
    )
    other = right(variant("resnet18"), 70)
    compared = compare_to_baseline(file(both, other), file(both, replace(other, accuracy=None)))
    assert (compared.compared, compared.figures) == (1, {"accuracy": 1, "latency": 1, "file size": 1})


def test_what_fails_now_counts_as_compared(variant: MakeVariant, file: MakeFile) -> None:
    compared = compare_to_baseline(file(timed(variant(), 1.0)), file(Result(variant=variant(), error="no")))
    assert (compared.compared, compared.figures) == (1, {})

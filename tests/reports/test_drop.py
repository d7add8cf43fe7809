from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgecnn.reports.drop import top1_drop
from edgecnn.reports.result import Accuracy, Dataset, Flips, Result, Variant

MakeVariant = Callable[..., Variant]


def _right(variant: Variant, top1: float) -> Result:
    dataset = Dataset(name="d", fingerprint="f", images=100)
    return Result(variant=variant, accuracy=Accuracy(n=100, top1=top1, top1_ci95=(0, 100), dataset=dataset))


def _points(result: Result, among: list[Result]) -> float | None:
    change = top1_drop(result, among)
    return None if change is None else change.drop


def test_a_quantised_file_in_fp32_arithmetic_has_lost_what_it_lost(variant: MakeVariant) -> None:
    fp32 = _right(replace(variant(), artifact_precision="fp32"), 70)
    on_gpu = _right(replace(variant(engine="ort-cuda"), artifact_precision="int8"), 68)
    assert _points(on_gpu, [fp32, on_gpu]) == 2
    assert top1_drop(on_gpu, [on_gpu]) is None
    assert _points(fp32, [on_gpu, fp32]) == 0


def test_a_quantised_file_in_fp32_arithmetic_is_no_reference(variant: MakeVariant) -> None:
    on_gpu = replace(variant(engine="ort-cuda"), artifact_precision="int8")
    int8 = _right(variant(precision="int8"), 66)
    assert top1_drop(int8, [_right(on_gpu, 68), int8]) is None
    assert int8.accuracy is not None
    paired = replace(int8.accuracy, reference=on_gpu, flips=Flips(gained=1, lost=3))
    assert top1_drop(replace(int8, accuracy=paired), []) is None


def test_without_word_of_the_file_the_arithmetic_counts(variant: MakeVariant) -> None:
    assert _points(_right(variant(), 70), []) == 0

"""How much top-1 a variant lost against the fp32 form of its own network."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.reports.accuracy_change import AccuracyChange, accuracy_change
from edgecnn.reports.result import Accuracy, Result, Variant
from edgecnn.statistics import paired_drop_interval

__all__ = ["top1_drop"]


def top1_drop(result: Result, among: Sequence[Result]) -> AccuracyChange | None:
    """How much top-1 fell below fp32; None where nobody can tell.

    Paired, image by image, where the accuracy was measured against an fp32 reference of the same network.
    Otherwise against the best fp32 result of the network in ``among`` on the same images. An fp32 variant
    that was compared with none is a reference itself, and its drop is 0.
    """
    accuracy = result.accuracy
    if accuracy is None:
        return None
    if accuracy.flips is not None and _fp32_of_same_network(result, accuracy):
        gained, lost, n = accuracy.flips.gained, accuracy.flips.lost, accuracy.n
        low, high = paired_drop_interval(gained, lost, n)
        return AccuracyChange(drop=100 * (lost - gained) / n, ci95=(100 * low, 100 * high), paired=True)
    if _is_fp32(result.variant):
        return AccuracyChange(drop=0.0, ci95=(0.0, 0.0), paired=True)
    references = [one.accuracy for one in among if _is_reference(one, result) and one.accuracy is not None]
    best = max(references, key=lambda one: one.top1, default=None)
    return None if best is None else accuracy_change(best, accuracy)


def _fp32_of_same_network(result: Result, accuracy: Accuracy) -> bool:
    reference = accuracy.reference
    return reference is not None and _is_fp32(reference) and reference.network == result.variant.network


def _is_reference(one: Result, result: Result) -> bool:
    return (
        one.accuracy is not None
        and result.accuracy is not None
        and _is_fp32(one.variant)
        and one.variant.network == result.variant.network
        and _images(one.accuracy) == _images(result.accuracy)
    )


def _is_fp32(variant: Variant) -> bool:
    """Whether nothing was lost: a quantised file stays one where the arithmetic is fp32, as on a GPU."""
    return variant.precision == "fp32" and variant.artifact_precision in ("fp32", None)


def _images(accuracy: Accuracy) -> str | None:
    return None if accuracy.dataset is None else accuracy.dataset.fingerprint

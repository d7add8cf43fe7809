"""How much top-1 a variant lost against the fp32 form of its own network."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.reports.result import Accuracy, Result, Variant

__all__ = ["top1_drop"]


def top1_drop(result: Result, among: Sequence[Result]) -> float | None:
    """Percentage points of top-1 below fp32; negative where it gained; None where nobody can tell.

    Paired, image by image, where the accuracy was measured against an fp32 reference of the same network.
    Otherwise against the best fp32 result of the network in ``among`` on the same images. An fp32 variant
    that was compared with none is a reference itself, and its drop is 0.
    """
    accuracy = result.accuracy
    if accuracy is None:
        return None
    if accuracy.flips is not None and _fp32_of_same_network(result, accuracy):
        return 100 * (accuracy.flips.lost - accuracy.flips.gained) / accuracy.n
    if _is_fp32(result.variant):
        return 0.0
    references = [one for one in among if _is_reference(one, result, accuracy)]
    tops = [one.accuracy.top1 for one in references if one.accuracy is not None]
    return max(tops) - accuracy.top1 if tops else None


def _fp32_of_same_network(result: Result, accuracy: Accuracy) -> bool:
    reference = accuracy.reference
    return reference is not None and _is_fp32(reference) and reference.network == result.variant.network


def _is_reference(one: Result, result: Result, accuracy: Accuracy) -> bool:
    return (
        one.accuracy is not None
        and _is_fp32(one.variant)
        and one.variant.network == result.variant.network
        and _images(one.accuracy) == _images(accuracy)
    )


def _is_fp32(variant: Variant) -> bool:
    """Whether nothing was lost: a quantised file stays one where the arithmetic is fp32, as on a GPU."""
    return variant.precision == "fp32" and variant.artifact_precision in ("fp32", None)


def _images(accuracy: Accuracy) -> str | None:
    return None if accuracy.dataset is None else accuracy.dataset.fingerprint

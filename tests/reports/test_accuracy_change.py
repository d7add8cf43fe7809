from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edgecnn.reports.accuracy_change import accuracy_change
from edgecnn.reports.result import Accuracy, Dataset, Flip, Variant

CHOICES = st.tuples(*(st.integers(0, 2) for _ in range(4)))  # label, reference, before, after
REFERENCE = Variant(network="n", artifact="n.onnx", sha256="aa", precision="fp32", engine="ort")


def _accuracy(images: Sequence[tuple[int, ...]], column: int, reference: Variant | None) -> Accuracy:
    n = len(images)
    flips = [
        Flip(key=str(index), label=image[0], reference=image[1], predicted=image[column])
        for index, image in enumerate(images)
        if image[column] != image[1]
    ]
    return Accuracy(
        n=n,
        top1=100 * sum(image[column] == image[0] for image in images) / n,
        top1_ci95=(0.0, 100.0),
        dataset=Dataset(name="d", fingerprint="f", images=n),
        reference=reference,
        flipped=tuple(flips),
    )


@given(st.lists(CHOICES, min_size=1, max_size=40))
def test_flips_against_one_reference_give_the_change_image_by_image(
    images: Sequence[tuple[int, ...]],
) -> None:
    change = accuracy_change(_accuracy(images, 2, REFERENCE), _accuracy(images, 3, REFERENCE))
    assert change is not None
    assert change.paired
    lost = sum(image[2] == image[0] != image[3] for image in images)
    gained = sum(image[3] == image[0] != image[2] for image in images)
    assert abs(change.drop - 100 * (lost - gained) / len(images)) < 1e-9
    assert change.ci95[0] <= change.ci95[1]


@given(st.lists(CHOICES, min_size=1, max_size=40))
def test_without_a_common_reference_the_proportions_are_compared(images: Sequence[tuple[int, ...]]) -> None:
    old, new = _accuracy(images, 2, None), _accuracy(images, 3, REFERENCE)
    change = accuracy_change(old, new)
    assert change is not None
    assert not change.paired
    assert change.ci95[0] - 1e-9 <= change.drop <= change.ci95[1] + 1e-9


def test_pairing_finds_what_two_proportions_cannot() -> None:
    images: Sequence[tuple[int, ...]] = [(0, 0, 0, 0)] * 700 + [(0, 1, 1, 1)] * 290 + [(0, 0, 0, 1)] * 10
    paired = accuracy_change(_accuracy(images, 2, REFERENCE), _accuracy(images, 3, REFERENCE))
    apart = accuracy_change(_accuracy(images, 2, None), _accuracy(images, 3, None))
    assert paired is not None
    assert apart is not None
    assert paired.ci95[0] > 0 > apart.ci95[0]

"""The rule of --max-drop: a drop that chance explains is no failure."""

from __future__ import annotations

import pytest

from edgecnn.reports.max_drop import drop_gate, paired_drop_gate
from edgecnn.reports.result import Accuracy, Flips


def _accuracy(n: int, gained: int, lost: int) -> Accuracy:
    return Accuracy(n=n, top1=0.0, top1_ci95=(0.0, 1.0), flips=Flips(gained=gained, lost=lost))


@pytest.mark.parametrize(
    ("points", "low", "limit", "held"),
    [
        (2.0, 1.0, 0.5, False),
        (2.0, 0.5, 0.5, True),
        (2.0, -1.0, 0.5, True),
        (0.4, 0.2, 0.5, True),
        (-1.0, -2.0, 0.0, True),
        (-99.0, -98.0, 0.0, True),
    ],
)
def test_what_the_interval_cannot_tell_from_the_limit_holds(
    points: float, low: float, limit: float, held: bool
) -> None:
    gate = drop_gate(points, (low, 100.0), limit)
    assert (gate.name, gate.limit, gate.value, gate.held) == ("max_drop", limit, points, held)


@pytest.mark.parametrize(
    ("n", "gained", "lost", "limit", "held"),
    [
        (4, 0, 3, 0.5, True),  # three of four images, and still too few to be sure
        (1000, 0, 11, 1.0, True),  # the interval begins at 0.396 points
        (1000, 0, 11, 0.396, True),
        (1000, 0, 11, 0.395, False),
        (1000, 5, 0, 0.0, True),
        (1000, 0, 0, 0.0, True),
        (48, 12, 36, 23.0, False),
    ],
)
def test_the_drop_is_counted_in_flips(n: int, gained: int, lost: int, limit: float, held: bool) -> None:
    gate = paired_drop_gate(_accuracy(n, gained, lost), limit)
    assert gate is not None
    assert (gate.limit, gate.held) == (limit, held)
    assert gate.value == pytest.approx(100 * (lost - gained) / n)


def test_without_a_reference_there_is_no_gate() -> None:
    assert paired_drop_gate(Accuracy(n=4, top1=0.0, top1_ci95=(0.0, 1.0)), 0.5) is None

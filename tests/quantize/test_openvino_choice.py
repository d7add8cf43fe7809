"""Which of two int8 forms is preferred, by noise and latency as told."""

from __future__ import annotations

import pytest

from edgecnn.quantize.fidelity import Fidelity
from edgecnn.quantize.mixed_precision import RelativeLatency
from edgecnn.quantize.openvino_choice import Tried, _preferred


def tried(
    name: str, noise: float, ratio: float = 1.0, ci95: tuple[float, float] | None = None, *, met: bool = True
) -> Tried:
    fidelity = Fidelity(noise=noise, agreement=98.0, images=100)
    return Tried(name, fidelity, RelativeLatency(ratio, ci95 or (ratio, ratio)), met)


@pytest.mark.parametrize(
    ("second", "preferred"),
    [
        (tried("faster", 0.3, 0.5, (0.45, 0.55)), "faster"),
        (tried("slower", 0.1, 1.5, (1.4, 1.6)), "first"),
        (tried("as fast, nearer", 0.1, 1.04), "as fast, nearer"),
        (tried("as fast, further", 0.3, 0.97), "first"),
        (tried("perhaps faster, further", 0.3, 0.4, (0.2, 3.0)), "first"),
        (tried("perhaps slower, nearer", 0.1, 1.3, (0.6, 2.0)), "perhaps slower, nearer"),
        (tried("faster, and too far", 0.3, 0.5, met=False), "first"),
    ],
)
def test_speed_decides_where_it_can_be_told_and_noise_elsewhere(second: Tried, preferred: str) -> None:
    assert _preferred([tried("first", 0.2), second]).name == preferred


def test_where_none_meets_the_goal_the_least_noise_is_taken() -> None:
    both = [tried("first", 0.2, met=False), tried("nearer", 0.1, 2.0, met=False)]
    assert _preferred(both).name == "nearer"

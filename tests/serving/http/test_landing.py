"""Memory of bodies: used again, but never while somebody holds it."""

from __future__ import annotations

from collections.abc import Callable, Sized

import numpy as np
import pytest

from edgecnn.serving.faults import OverloadedError
from edgecnn.serving.http.landing import BodyMemory
from edgecnn.serving.http.limits import BodyBudget

LARGE = 600_000


def test_memory_that_nobody_holds_is_used_again() -> None:
    memory = BodyMemory()
    buffer = memory.take(LARGE)
    memory.give_back(buffer)
    assert memory.take(LARGE - 5) is buffer
    assert memory.take(LARGE) is not buffer


@pytest.mark.parametrize(
    "hold", [memoryview, lambda buffer: np.frombuffer(memoryview(buffer)[8:16], np.uint8)]
)
def test_memory_that_somebody_holds_is_left_to_him(hold: Callable[[bytearray], Sized]) -> None:
    memory = BodyMemory()
    buffer = memory.take(LARGE)
    held = hold(buffer)
    memory.give_back(buffer)
    assert memory.take(LARGE) is not buffer
    assert len(held) in (8, len(buffer))


def test_small_bodies_take_no_more_than_they_need() -> None:
    assert len(BodyMemory().take(1000)) == 1000


def test_idle_memory_is_bounded() -> None:
    memory = BodyMemory()
    buffers = [memory.take(1_000_000) for _ in range(100)]
    for buffer in buffers:
        memory.give_back(buffer)
    again = [memory.take(1_000_000) for _ in range(100)]
    kept = {id(buffer) for buffer in again} & {id(buffer) for buffer in buffers}
    assert 60 <= len(kept) <= 67  # 64 MiB of them


def test_a_budget_refuses_what_it_has_no_room_for() -> None:
    budget = BodyBudget(10)
    budget.take(6)
    with pytest.raises(OverloadedError, match="6 of 10"):
        budget.take(5)
    budget.release(6)
    budget.take(10)
    assert budget.used == 10


def test_blocks_of_a_size_that_comes_no_more_are_the_first_to_go() -> None:
    memory = BodyMemory()
    old = [memory.take(1_000_000) for _ in range(60)]
    for buffer in old:
        memory.give_back(buffer)
    new = [memory.take(2_000_000) for _ in range(30)]
    for buffer in new:
        memory.give_back(buffer)
    again = [memory.take(2_000_000) for _ in range(30)]
    assert {id(buffer) for buffer in again} == {id(buffer) for buffer in new}

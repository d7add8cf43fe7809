"""The ordered parallel map."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.data import ordered_map

workers_and_window = {"workers": st.integers(1, 5), "window": st.integers(1, 8)}


def map_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("edgecnn-map")]


@given(delays=st.lists(st.floats(0, 0.002), max_size=30), **workers_and_window)
def test_results_come_in_the_order_of_the_items(delays: list[float], workers: int, window: int) -> None:
    def work(item: tuple[int, float]) -> int:
        time.sleep(item[1])
        return item[0]

    results = ordered_map(work, enumerate(delays), workers=workers, window=window)
    assert list(results) == list(range(len(delays)))
    assert not map_threads()


@given(count=st.integers(0, 40), **workers_and_window)
def test_no_more_than_the_window_is_under_way(count: int, workers: int, window: int) -> None:
    taken, received, most = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal taken, most
        for item in range(count):
            taken += 1
            most = max(most, taken - received)
            yield item

    for _ in ordered_map(lambda item: item, items(), workers=workers, window=window):
        received += 1
    assert received == count
    assert most <= window


@given(count=st.integers(1, 40), data=st.data(), **workers_and_window)
def test_an_exception_is_raised_in_its_place_and_ends_the_map(
    count: int, data: st.DataObject, workers: int, window: int
) -> None:
    bad = data.draw(st.integers(0, count - 1))
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        if item == bad:
            raise KeyError(item)
        return item

    results = ordered_map(work, range(count), workers=workers, window=window)
    assert [next(results) for _ in range(bad)] == list(range(bad))
    with pytest.raises(KeyError, match=str(bad)):
        next(results)
    assert max(started) < bad + window
    assert not map_threads()
    assert list(results) == []


def test_workers_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=10)
    results = ordered_map(lambda _: barrier.wait() >= 0, range(3), workers=3, window=3)
    assert all(results)


def test_a_slow_item_does_not_idle_the_other_workers() -> None:
    gate = threading.Event()
    finished: list[int] = []

    def work(item: int) -> int:
        if item == 0:
            assert gate.wait(10)
        finished.append(item)
        if item == 4:
            gate.set()
        return item

    assert list(ordered_map(work, range(5), workers=2, window=5)) == [0, 1, 2, 3, 4]
    assert finished == [1, 2, 3, 4, 0]


@pytest.mark.parametrize("interrupt", [False, True], ids=["closed", "interrupted"])
def test_stopping_early_cancels_what_waits_and_ends_the_threads(interrupt: bool) -> None:
    release = threading.Event()
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        if item > 0:
            assert release.wait(10)
        return item

    results = ordered_map(work, range(1000), workers=2, window=20)
    assert next(results) == 0
    threading.Timer(0.05, release.set).start()
    if interrupt:
        with pytest.raises(KeyboardInterrupt):
            results.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    else:
        results.close()  # type: ignore[attr-defined]
    assert not map_threads()
    assert len(started) <= 6


def test_nothing_starts_before_the_first_result_is_asked_for() -> None:
    started: list[int] = []
    results = ordered_map(started.append, range(3), workers=1, window=3)
    assert not started
    assert list(results) == [None] * 3


@pytest.mark.parametrize(("workers", "window"), [(0, 1), (1, 0), (-1, 3)])
def test_no_workers_or_no_window_make_no_sense(workers: int, window: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ordered_map(str, [], workers=workers, window=window)

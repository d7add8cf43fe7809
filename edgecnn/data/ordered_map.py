"""A parallel map that keeps the order of its items and a bound on how many are under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["ordered_map"]

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], items: Iterable[T], *, workers: int, window: int) -> Iterator[R]:
    """``map(function, items)`` on threads: results come in the order of the items.

    An item counts as under way from the moment it is taken from ``items`` until its result is handed out;
    there are never more than ``window`` of them, so that memory stays bounded however slow the consumer is.

    An exception of ``function`` is raised in the place of its result, and nothing after it is started. When
    the consumer stops early (closes the iterator, or is interrupted), what has not started is cancelled and
    what runs is waited for.

    Args:
        function: called from several threads at once.
        items: read from the consumer's thread only, and only as far as the window reaches.
        workers: threads.
        window: items under way; with more than ``workers`` a slow item does not idle the other threads.

    Raises:
        ValueError: ``workers`` or ``window`` is less than 1.
    """
    if workers < 1 or window < 1:
        raise ValueError(f"workers and window must be at least 1, not {workers} and {window}")
    return _results(function, iter(items), workers, window)


def _results(function: Callable[[T], R], items: Iterator[T], workers: int, window: int) -> Iterator[R]:
    pending: deque[Future[R]] = deque()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="edgecnn-map")
    try:
        while True:
            for item in islice(items, window - len(pending)):
                pending.append(executor.submit(function, item))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)

"""A stream of requests, worked on together and answered in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["answer_stream"]

Request = TypeVar("Request")
Answer = TypeVar("Answer")


async def answer_stream(
    requests: AsyncIterable[Request], answer: Callable[[Request], Coroutine[Any, Any, Answer]], limit: int
) -> AsyncGenerator[Answer, None]:
    """Answer each request, as many at a time as ``limit``, in the order in which they came.

    When the stream is given up, so is all that is still worked on.

    Args:
        requests: read no faster than answers are taken, but for ``limit`` and one more.
        answer: must not raise for a bad request; what it raises ends the stream.
        limit: requests that are worked on, or answered and not yet taken.
    """
    slots = asyncio.Semaphore(limit)
    begun: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()

    async def begin_all() -> None:
        try:
            async for request in requests:
                await slots.acquire()
                begun.put_nowait(asyncio.create_task(answer(request)))
        finally:
            begun.put_nowait(None)

    reader = asyncio.create_task(begin_all())
    task: asyncio.Task[Answer] | None = None
    try:
        while (task := await begun.get()) is not None:
            yield await task
            slots.release()
        await reader
    finally:
        await _cancel(reader)
        await _cancel(task, *_left(begun))


def _left(begun: asyncio.Queue[asyncio.Task[Answer] | None]) -> list[asyncio.Task[Answer] | None]:
    return [begun.get_nowait() for _ in range(begun.qsize())]


async def _cancel(*tasks: asyncio.Task[Answer] | asyncio.Task[None] | None) -> None:
    given = [task for task in tasks if task is not None]
    for task in given:
        task.cancel()
    await asyncio.gather(*given, return_exceptions=True)

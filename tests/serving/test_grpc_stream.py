import asyncio
from collections.abc import AsyncIterator

import pytest

from edgecnn.serving.fake import run_virtually
from edgecnn.serving.grpc_stream import answer_stream


async def _numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def test_answers_keep_the_order_whatever_each_takes() -> None:
    async def slower_first(number: int) -> int:
        await asyncio.sleep(10 - number)
        return number

    async def main() -> list[int]:
        return [answer async for answer in answer_stream(_numbers(8), slower_first, 4)]

    assert run_virtually(main()) == list(range(8))


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_than_the_limit_are_worked_on(limit: int) -> None:
    working = most = 0

    async def counted(number: int) -> int:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(1)
        working -= 1
        return number

    async def main() -> None:
        assert [answer async for answer in answer_stream(_numbers(9), counted, limit)] == list(range(9))

    run_virtually(main())
    assert most == limit


def test_what_nobody_waits_for_any_more_is_cancelled() -> None:
    cancelled: list[int] = []

    async def endless(number: int) -> int:
        try:
            await asyncio.sleep(1 if number == 0 else 1e9)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    async def main() -> None:
        stream = answer_stream(_numbers(4), endless, 8)
        assert await anext(stream) == 0
        await stream.aclose()

    run_virtually(main())
    assert sorted(cancelled) == [1, 2, 3]


def test_a_stream_that_breaks_off_is_answered_as_far_as_it_came() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    async def same(number: int) -> int:
        return number

    async def main() -> None:
        answers = answer_stream(broken(), same, 2)
        assert await anext(answers) == 1
        with pytest.raises(ConnectionError):
            await anext(answers)

    run_virtually(main())

"""Every request of the corpus gets the answer that its file's name says, however it is cut up."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.serving.http.conftest import Client, Staging

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.http"))


@pytest.mark.parametrize("cut", ["whole", "bytes"])
@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_it_is_answered_as_its_name_says(staged: Staging, file: Path, cut: str) -> None:
    data = file.read_bytes()
    expected, _, following = file.stem.partition("-")

    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            sending = asyncio.create_task(client.send(data) if cut == "whole" else drip(client, data))
            answer = await client.answer()
            assert answer.status == int(expected), answer.body
            if following.startswith("then-200"):
                assert (await client.answer()).status == 200
            else:
                assert json.loads(answer.body)["error"]
                assert answer.headers["connection"] == "close"
                assert await client.rest() == b""
                assert [request.path for request in stage.seen] == []
            sending.cancel()
            assert stage.server.body_bytes == 0
            assert (await stage.ask(b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200

    asyncio.run(main())


async def drip(client: Client, data: bytes) -> None:
    """Send the beginning byte by byte: that is where it matters."""
    with suppress(ConnectionError):  # refused before the end
        for start in range(min(len(data), 200)):
            await client.send(data[start : start + 1])
            await asyncio.sleep(0)
        await client.send(data[200:])

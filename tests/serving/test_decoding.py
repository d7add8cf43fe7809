"""Image files to pixels, off the event loop."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from edgecnn.preprocess import crop, decode
from edgecnn.serving.decoding import Decoded, DecodingPool
from edgecnn.serving.faults import BadRequestError, OverloadedError
from edgecnn.spec import Preprocess

PREPROCESS = Preprocess(resize=40, crop=(32, 32))


def _png(seed: int, side: int = 50) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 10, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _decode(
    files: Sequence[bytes | memoryview], max_pixels: int = 10**6
) -> tuple[list[Decoded], list[float]]:
    async def main() -> tuple[list[Decoded], list[float]]:
        seen: list[float] = []
        pool = DecodingPool(2, max_pixels=max_pixels, max_waiting=10, observe=seen.append)
        found = await pool.decode(files, PREPROCESS)
        assert pool.pending == 0
        pool.close()
        return found, seen

    return asyncio.run(main())


def test_pixels_are_those_of_the_one_preprocessing() -> None:
    found, seconds = _decode([_png(0), memoryview(bytearray(_png(1)))])
    for place, pixels in enumerate(found):
        assert isinstance(pixels, np.ndarray)
        np.testing.assert_array_equal(pixels, crop(decode(_png(place)), PREPROCESS))
    assert len(seconds) == 2


def test_a_bad_file_leaves_the_others_alone_and_is_named() -> None:
    found, _ = _decode([_png(0), _png(1)[:200], b"GET / HTTP/1.1", _png(2)])
    assert [isinstance(each, np.ndarray) for each in found] == [True, False, False, True]
    assert isinstance(found[1], BadRequestError)
    assert "image 2" in found[1].sentence
    assert "truncated" in found[1].sentence


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    (found,) = _decode([_png(0)], max_pixels=100)[0]
    assert isinstance(found, BadRequestError)
    assert "limit of 100" in found.sentence


def test_too_many_are_refused_at_once() -> None:
    async def main() -> None:
        pool = DecodingPool(1, max_pixels=10**6, max_waiting=3)
        first = asyncio.ensure_future(pool.decode([_png(0)] * 3, PREPROCESS))
        await asyncio.sleep(0)
        assert pool.pending == 3
        with pytest.raises(OverloadedError, match="3 images wait"):
            await pool.decode([_png(1)], PREPROCESS)
        await first
        assert len(await pool.decode([_png(1)], PREPROCESS)) == 1
        pool.close()

    asyncio.run(main())


def test_a_request_that_is_given_up_frees_its_place() -> None:
    async def main() -> None:
        pool = DecodingPool(1, max_pixels=10**6, max_waiting=4)
        given_up = asyncio.ensure_future(pool.decode([_png(0)] * 4, PREPROCESS))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        async with asyncio.timeout(30):
            while pool.pending:
                await asyncio.sleep(0.001)
        assert len(await pool.decode([_png(1)], PREPROCESS)) == 1
        pool.close()

    asyncio.run(main())

"""Image files to pixels, in threads, so that neither the event loop nor an engine waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edgecnn.errors import ImageError
from edgecnn.preprocess import crop, decode
from edgecnn.serving.faults import BadRequestError, OverloadedError
from edgecnn.serving.loop_threads import LoopThreads
from edgecnn.spec import Preprocess

__all__ = ["Decoded", "DecodingPool"]

#: The pixels of one image file, or what is wrong with it.
Decoded = NDArray[np.uint8] | BadRequestError


class DecodingPool:
    """Threads that decode, resize and crop. Pillow lets go of the interpreter while it does."""

    def __init__(
        self,
        threads: int,
        *,
        max_pixels: int,
        max_waiting: int,
        observe: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Start the threads, for the running event loop.

        Args:
            threads: how many images are decoded at the same time.
            max_pixels: of one image; larger ones are refused before they are decoded.
            max_waiting: images that may wait for a thread; more are refused at once.
            observe: told the seconds of each image, on the event loop.
        """
        self._threads = LoopThreads(threads, "edgecnn-decode")
        self._max_pixels = max_pixels
        self._max_waiting = max_waiting
        self._observe = observe
        self._pending = 0
        self._pace_s = 0.0

    @property
    def pending(self) -> int:
        """Images that are being decoded or wait for it."""
        return self._pending

    async def decode(self, files: Sequence[bytes | memoryview], preprocess: Preprocess) -> list[Decoded]:
        """Decode the files of one request.

        Returns:
            In their order (H, W, C) uint8 pixels of ``preprocess.crop``, or what is wrong with the file.

        Raises:
            OverloadedError: too many images wait already.
        """
        if self._pending + len(files) > self._max_waiting:
            raise OverloadedError(f"{self._pending} images wait to be decoded.", self._pending * self._pace_s)
        self._pending += len(files)
        running = [
            self._threads.call(self._decoded, file, _name(place, len(files)), preprocess)
            for place, file in enumerate(files, 1)
        ]
        for each in running:
            each.add_done_callback(self._ended)
        decoded = [await running[0]] if len(running) == 1 else await asyncio.gather(*running)
        return [pixels for pixels, _ in decoded]

    def close(self) -> None:
        """End the threads after what they are at; images that still wait are dropped."""
        self._threads.drop_waiting()
        self._threads.close()

    def _decoded(self, file: bytes | memoryview, name: str, preprocess: Preprocess) -> tuple[Decoded, float]:
        begun = perf_counter()
        try:
            image = decode(bytes(file), name=name, max_pixels=self._max_pixels)
            pixels: Decoded = crop(image, preprocess, name=name)
        except ImageError as error:
            pixels = BadRequestError(f"{error.problem}.", error.remedy)
        return pixels, perf_counter() - begun

    def _ended(self, done: asyncio.Future[tuple[Decoded, float]]) -> None:
        self._pending -= 1
        if not done.cancelled() and done.exception() is None:
            seconds = done.result()[1]
            self._pace_s += 0.1 * (seconds - self._pace_s)
            self._observe(seconds)


def _name(place: int, files: int) -> str:
    """What an error calls an image."""
    return f"image {place}" if files > 1 else "image"

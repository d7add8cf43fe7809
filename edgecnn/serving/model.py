"""One version of one model, as requests see it: the same through loading, reloading and unloading."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecnn.engines import EngineInfo
from edgecnn.serving.batcher import Answered
from edgecnn.serving.decoding import Decoded, DecodingPool
from edgecnn.serving.faults import (
    BadRequestError,
    DeadlineError,
    OverloadedError,
    RequestError,
    ServerFailureError,
    TooLargeError,
    UnavailableError,
)
from edgecnn.serving.lane import Image, Row
from edgecnn.serving.layout import Layout
from edgecnn.serving.metrics import AnsweredRequest, ModelMetrics
from edgecnn.serving.runner import Runner
from edgecnn.spec import ModelSpec

__all__ = ["Inference", "Protocol", "ServedModel", "State"]

State = Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]
Protocol = Literal["http", "grpc"]


@dataclass(frozen=True, slots=True)
class Inference:
    """The answer to one request.

    Attributes:
        scores: (N, classes) float32; logits or probabilities, as the spec says.
        queue_ns: until the last of its images went to an engine.
        compute_ns: the longest of its batches, from being put together to the scores.
        batches: sizes of the batches that its images were in.
    """

    scores: NDArray[np.float32]
    queue_ns: int
    compute_ns: int
    batches: tuple[int, ...]


class ServedModel:
    """A place that a runner is put into and taken out of while requests come and go."""

    def __init__(
        self,
        name: str,
        version: str,
        pool: DecodingPool,
        metrics: ModelMetrics,
        *,
        max_images: int,
        timeout_s: float,
    ) -> None:
        """Make an empty place.

        Args:
            name: of the model.
            version: of it.
            pool: decodes image files.
            metrics: of this version.
            max_images: of one request.
            timeout_s: what a request may take that says nothing itself.
        """
        self.name = name
        self.version = version
        self.max_images = max_images
        self.timeout_s = timeout_s
        self.metrics = metrics
        self.used_at = 0.0
        self.in_flight = 0
        self._pool = pool
        self._state: State = "UNAVAILABLE"
        self._reason = "it was not loaded yet"
        self._runner: Runner | None = None

    @property
    def state(self) -> State:
        """As the repository index says it."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it is not ready; "" when it is."""
        return self._reason

    @property
    def spec(self) -> ModelSpec:
        """What the model takes and gives.

        Raises:
            UnavailableError: it is not loaded.
        """
        return self._running().artifact.spec

    @property
    def layout(self) -> Layout:
        """What runs it.

        Raises:
            UnavailableError: it is not loaded.
        """
        return self._running().layout

    @property
    def info(self) -> EngineInfo:
        """What really runs.

        Raises:
            UnavailableError: it is not loaded.
        """
        return self._running().info

    @property
    def waiting(self) -> int:
        """Images that no engine has yet."""
        return 0 if self._runner is None else self._runner.batcher.waiting

    def mark(self, state: State, reason: str = "") -> None:
        """Say what is going on with it."""
        self._state, self._reason = state, reason
        self.metrics.ready.set(int(state == "READY"))

    def put(self, runner: Runner) -> Runner | None:
        """Give requests from now on to ``runner``; returns the one before, which the caller closes."""
        before, self._runner = self._runner, runner
        self.metrics.layout(runner.layout.images_per_s)
        self.mark("READY")
        return before

    def take(self, reason: str) -> Runner | None:
        """Give requests to nobody from now on; returns the runner, which the caller closes."""
        before, self._runner = self._runner, None
        self.mark("UNAVAILABLE", reason)
        return before

    async def infer(
        self, images: Sequence[Image], deadline_s: float | None = None, *, protocol: Protocol = "http"
    ) -> Inference:
        """Scores of images, which may share batches with others.

        Args:
            images: each (C, H, W) of the input's dtype, or (H, W, C) uint8 pixels of the crop's size, which
                are normalised here; any mix.
            deadline_s: in the event loop's time; ``timeout_s`` from now if None.
            protocol: for the metrics.

        Raises:
            BadRequestError: no image, or one of another dtype or shape.
            TooLargeError: too many images.
            UnavailableError: the model is not loaded.
            OverloadedError: there is no room for them.
            DeadlineError: their time ran out.
            ServerFailureError: the engine failed.
        """
        begun = time.perf_counter()
        self.in_flight += 1
        try:
            runner = self._running()
            self._require_fit(images, runner.artifact.spec)
            if deadline_s is None:
                deadline_s = asyncio.get_running_loop().time() + self.timeout_s
            answered = await runner.batcher.submit(images, deadline_s)
        except RequestError as error:
            self._note_failure(error, time.perf_counter() - begun, protocol)
            raise
        finally:
            self.in_flight -= 1
        return self._noted(answered, time.perf_counter() - begun, protocol)

    async def decode(self, files: Sequence[bytes | memoryview]) -> list[NDArray[np.uint8]]:
        """Pixels of image files, (H, W, C) uint8 of the crop's size.

        Raises:
            BadRequestError: one of them is no image, is damaged, or has too many pixels.
            OverloadedError, TooLargeError, UnavailableError: as :meth:`infer`.
        """
        decoded = await self.try_decode(files)
        pixels = [each for each in decoded if not isinstance(each, BadRequestError)]
        for each in decoded:
            if isinstance(each, BadRequestError):
                raise each
        return pixels

    async def try_decode(self, files: Sequence[bytes | memoryview]) -> list[Decoded]:
        """As :meth:`decode`, with the error in the place of a file that cannot be used.

        Raises:
            OverloadedError, TooLargeError, UnavailableError: as :meth:`infer`.
        """
        runner = self._running()
        try:
            self._require_count(len(files))
            runner.batcher.require_room(len(files), asyncio.get_running_loop().time() + self.timeout_s)
            return await self._pool.decode(files, runner.artifact.spec.preprocess)
        except RequestError as error:
            self._note_refusal(error)
            raise

    def _running(self) -> Runner:
        if self._runner is None:
            raise UnavailableError(
                f"The model {self.name!r}, version {self.version}, is not ready: {self._reason}.",
                "Ask for it again later, or see /v2/repository/index.",
            )
        self.used_at = time.monotonic()
        return self._runner

    def _require_count(self, count: int) -> None:
        if count > self.max_images:
            raise TooLargeError(
                f"The request holds {count} images, and {self.max_images} is the limit.",
                "Send them in several requests.",
            )

    def _require_fit(self, images: Sequence[Image], spec: ModelSpec) -> None:
        self._require_count(len(images))
        if not images:
            raise BadRequestError("The request holds no image.", "Send at least one.")
        crop = (*spec.preprocess.crop, spec.preprocess.channels)
        own = spec.input.shape[1:]
        for image in images:
            pixels = image.dtype == np.uint8 and image.shape == crop
            if not pixels and not (image.dtype.name == spec.input.dtype and image.shape == own):
                raise BadRequestError(
                    f"An image is {image.dtype}{list(image.shape)}, and {self.name!r} takes "
                    f"{spec.input.dtype}{list(own)} or uint8{list(crop)} pixels.",
                    "Prepare it as the model's metadata say.",
                )

    def _noted(self, answered: Answered[Row], seconds: float, protocol: Protocol) -> Inference:
        rows = answered.answers
        slowest = rows[0] if len(rows) == 1 else max(rows, key=lambda row: row.input_ns + row.infer_ns)
        self.metrics.answered(
            AnsweredRequest(
                len(rows),
                seconds,
                answered.queue_s,
                1e-9 * slowest.input_ns,
                1e-9 * slowest.infer_ns,
                protocol,
                time.time(),
            )
        )
        scores = rows[0].scores[np.newaxis] if len(rows) == 1 else np.stack([row.scores for row in rows])
        return Inference(
            scores,
            round(1e9 * answered.queue_s),
            slowest.input_ns + slowest.infer_ns,
            answered.batches,
        )

    def _note_failure(self, error: RequestError, seconds: float, protocol: Protocol) -> None:
        if isinstance(error, DeadlineError | ServerFailureError):
            outcome = "expired" if isinstance(error, DeadlineError) else "failed"
            self.metrics.failed(seconds, protocol, outcome)
        else:
            self._note_refusal(error)

    def _note_refusal(self, error: RequestError) -> None:
        """Count what the model refuses; what is wrong with the request itself the transports count."""
        if isinstance(error, OverloadedError | UnavailableError):
            self.metrics.refused(error.reason)

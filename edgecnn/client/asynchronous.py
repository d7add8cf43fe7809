"""The client that awaits."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar, overload

import httpx

from edgecnn.client import calls
from edgecnn.client.answers import (
    Inference,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    Predictions,
    ServerMetadata,
)
from edgecnn.client.attempts import Attempts, Outcome
from edgecnn.client.calls import Call, Image
from edgecnn.client.connection import ConnectionSettings, answer_of, request_of
from edgecnn.client.errors import RefusedError, UnreachableError
from edgecnn.client.retries import RetryPolicy

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient:
    """A connection pool to one server, for one event loop."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        verify: bool | ssl.SSLContext = True,
        timeout_s: float = 30.0,
        retry: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Connect when first used; arguments and errors as of :class:`edgecnn.client.Client`."""
        self._settings = ConnectionSettings(
            url=url, api_key=api_key, verify=verify, timeout_s=timeout_s, retry=retry or RetryPolicy()
        )
        self._http = httpx.AsyncClient(
            headers=self._settings.headers(),
            verify=verify,
            limits=self._settings.limits(),
            transport=transport,
        )
        self._sleep = sleep
        self._metadata: dict[tuple[str, str | None], ModelMetadata] = {}

    async def predict(
        self, images: Image | Sequence[Image], model: str | None = None, top_k: int = 5
    ) -> Predictions:
        """The most probable labels of images; as :meth:`edgecnn.client.Client.predict`.

        Files are read before the first await: give bytes where the disk is slow.
        """
        return await self._send(calls.predict_call(images, model, top_k))

    async def infer(self, array: NDArray[Any], model: str, version: str | None = None) -> Inference:
        """The scores of a tensor; as :meth:`edgecnn.client.Client.infer`."""
        key = (model, version)
        if (metadata := self._metadata.get(key)) is None:
            metadata = self._metadata[key] = await self.metadata(model, version)
        try:
            return await self._send(calls.infer_call(array, metadata, model, version))
        except RefusedError:
            # The model may have been replaced by one with other names: look again next time.
            self._metadata.pop(key, None)
            raise

    async def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Whether the server, or a model, would answer now; False where nobody is there. Asks once."""
        try:
            return await self._send(calls.ready_call(model, version))
        except UnreachableError:
            return False

    async def models(self) -> tuple[ModelState, ...]:
        """All versions of all models that the server has, ready or not."""
        return await self._send(calls.index_call())

    @overload
    async def metadata(self) -> ServerMetadata: ...

    @overload
    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata: ...

    async def metadata(
        self, model: str | None = None, version: str | None = None
    ) -> ServerMetadata | ModelMetadata:
        """Who the server is; or what a model takes and gives."""
        if model is None:
            return await self._send(calls.server_metadata_call())
        return await self._send(calls.model_metadata_call(model, version))

    async def statistics(
        self, model: str | None = None, version: str | None = None
    ) -> tuple[ModelStatistics, ...]:
        """What a model, or every model, has done since it was loaded."""
        return await self._send(calls.statistics_call(model, version))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _send(self, call: Call[T]) -> T:
        attempts = Attempts(call, self._settings.retry, self._settings.url, time.monotonic)
        while True:
            outcome = await self._attempt(call, attempts)
            pause = attempts.pause_s(outcome)
            if pause is None:
                return attempts.result(outcome)
            await self._sleep(pause)

    async def _attempt(self, call: Call[T], attempts: Attempts[T]) -> Outcome:
        request = request_of(call, self._http, self._settings, attempts.left_s())
        try:
            async with asyncio.timeout(attempts.left_s()):
                response = await self._http.send(request)
        except httpx.RequestError as error:
            return error
        except TimeoutError:
            return httpx.ReadTimeout("the deadline passed", request=request)
        return answer_of(response, response.content)

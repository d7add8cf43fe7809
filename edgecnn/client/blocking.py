"""The client that blocks."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
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

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """A connection pool to one server; threads may share it."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        verify: bool | ssl.SSLContext = True,
        timeout_s: float = 30.0,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect when first used.

        Args:
            url: "http://127.0.0.1:8000".
            api_key: sent as a bearer token.
            verify: whether a certificate is checked, or a context with the authorities to trust.
            timeout_s: of one attempt, for each of connecting, sending and waiting for the next bytes.
            retry: how persistent; ``RetryPolicy(attempts=1)`` for a single attempt.
            transport: what sends instead of httpx's own.
            sleep: lets so many seconds pass.

        Raises:
            UsageError: ``url`` is none.
        """
        self._settings = ConnectionSettings(
            url=url, api_key=api_key, verify=verify, timeout_s=timeout_s, retry=retry or RetryPolicy()
        )
        self._http = httpx.Client(
            headers=self._settings.headers(),
            verify=verify,
            limits=self._settings.limits(),
            transport=transport,
        )
        self._sleep = sleep
        self._metadata: dict[tuple[str, str | None], ModelMetadata] = {}

    def predict(
        self, images: Image | Sequence[Image], model: str | None = None, top_k: int = 5
    ) -> Predictions:
        """The most probable labels of images.

        Args:
            images: a path, the bytes of an image file, or several of them. Of several, one that cannot be
                used has its own ``error``; a single one raises.
            model: its name; None where the server has only one.
            top_k: labels an image.

        Raises:
            ClientError: see :mod:`edgecnn.client.errors`.
            ImageError: a file cannot be read.
        """
        return self._send(calls.predict_call(images, model, top_k))

    def infer(self, array: NDArray[Any], model: str, version: str | None = None) -> Inference:
        """The scores of a tensor that is ready for the model.

        Args:
            array: (N, C, H, W) float32 or whatever ``metadata(model)`` says.
            model: its name.
            version: None for the server's choice.

        Raises:
            ClientError: see :mod:`edgecnn.client.errors`.
        """
        key = (model, version)
        if key not in self._metadata:
            self._metadata[key] = self.metadata(model, version)
        try:
            return self._send(calls.infer_call(array, self._metadata[key], model, version))
        except RefusedError:
            # The model may have been replaced by one with other names: look again next time.
            self._metadata.pop(key, None)
            raise

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Whether the server, or a model, would answer now; False where nobody is there. Asks once."""
        try:
            return self._send(calls.ready_call(model, version))
        except UnreachableError:
            return False

    def models(self) -> tuple[ModelState, ...]:
        """All versions of all models that the server has, ready or not."""
        return self._send(calls.index_call())

    @overload
    def metadata(self) -> ServerMetadata: ...

    @overload
    def metadata(self, model: str, version: str | None = None) -> ModelMetadata: ...

    def metadata(
        self, model: str | None = None, version: str | None = None
    ) -> ServerMetadata | ModelMetadata:
        """Who the server is; or what a model takes and gives."""
        if model is None:
            return self._send(calls.server_metadata_call())
        return self._send(calls.model_metadata_call(model, version))

    def statistics(self, model: str | None = None, version: str | None = None) -> tuple[ModelStatistics, ...]:
        """What a model, or every model, has done since it was loaded."""
        return self._send(calls.statistics_call(model, version))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: Call[T]) -> T:
        attempts = Attempts(call, self._settings.retry, self._settings.url, time.monotonic)
        while True:
            outcome = self._attempt(call, attempts)
            pause = attempts.pause_s(outcome)
            if pause is None:
                return attempts.result(outcome)
            self._sleep(pause)

    def _attempt(self, call: Call[T], attempts: Attempts[T]) -> Outcome:
        request = request_of(call, self._http, self._settings, attempts.left_s())
        try:
            response = self._http.send(request, stream=True)
            try:
                return answer_of(response, self._body(response, request, attempts))
            finally:
                response.close()
        except httpx.RequestError as error:
            return error

    def _body(self, response: httpx.Response, request: httpx.Request, attempts: Attempts[T]) -> bytes:
        """Read by parts: httpx limits each wait, and a server that trickles would outlast any deadline."""
        parts = []
        for part in response.iter_bytes():
            parts.append(part)
            if not attempts.left_s():
                raise httpx.ReadTimeout("the deadline passed while the answer came in", request=request)
        return b"".join(parts)

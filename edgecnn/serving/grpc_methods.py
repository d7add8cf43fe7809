"""The methods of the protocol's gRPC service: a request message in, an answer message out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from edgecnn.serving.faults import NotFoundError
from edgecnn.serving.infer_call import loading_with, pinned, run_call
from edgecnn.serving.open_inference.contract import Service
from edgecnn.serving.open_inference.documents import (
    model_config,
    model_metadata,
    repository_index,
    server_metadata,
    statistics,
)
from edgecnn.serving.open_inference.message_calls import answer_message, call_of_message
from edgecnn.serving.open_inference.messages import SERVICE, Message, message_of, message_type

__all__ = ["GrpcMethods", "Method"]

#: From a message, and when the client gives up (None: never; in the event loop's time), to the answer.
Method: TypeAlias = "Callable[[Message, float | None], Awaitable[Message]]"


@dataclass(frozen=True, slots=True)
class GrpcMethods:
    """What answers each method.

    Attributes:
        service: the models.
    """

    service: Service

    def of_protocol(self) -> dict[str, Method]:
        """By the method's name; the stream is made of ModelInfer."""
        return {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelInfer": self.infer,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }

    async def infer(self, request: Message, deadline_s: float | None) -> Message:
        """ModelInferRequest to ModelInferResponse."""
        received_s = asyncio.get_running_loop().time()
        model = await self.service.model(request.model_name, request.model_version or None)
        served = pinned(model)
        call = call_of_message(served, request)
        inference = await run_call(model, call, received_s, deadline_s, protocol="grpc")
        return answer_message(served, call, inference.scores)

    async def health(self, request: Message, _deadline_s: float | None) -> Message:
        """gRPC's own HealthCheckRequest: of the whole server, or of a model by its name."""
        name = request.service
        if name in ("", SERVICE):
            status = "SERVING" if self.service.ready() else "NOT_SERVING"
        elif any(state.name == name for state in self.service.index()):
            status = "SERVING" if self.service.ready_model(name) else "NOT_SERVING"
        else:
            status = "SERVICE_UNKNOWN"
        return message_of("grpc.health.v1.HealthCheckResponse", {"status": status})

    async def _server_live(self, _request: Message, _deadline_s: float | None) -> Message:
        return _message("ServerLiveResponse", live=self.service.live())

    async def _server_ready(self, _request: Message, _deadline_s: float | None) -> Message:
        return _message("ServerReadyResponse", ready=self.service.ready())

    async def _model_ready(self, request: Message, _deadline_s: float | None) -> Message:
        try:
            ready = self.service.ready_model(request.name, request.version or None)
        except NotFoundError:  # of a model that does not exist, clients ask whether it is ready, too
            ready = False
        return _message("ModelReadyResponse", ready=ready)

    async def _server_metadata(self, _request: Message, _deadline_s: float | None) -> Message:
        return message_of("inference.ServerMetadataResponse", server_metadata())

    async def _model_metadata(self, request: Message, _deadline_s: float | None) -> Message:
        model = await self.service.model(request.name, request.version or None)
        versions = [state.version for state in self.service.index() if state.name == model.name]
        return message_of("inference.ModelMetadataResponse", model_metadata(model, versions))

    async def _model_config(self, request: Message, _deadline_s: float | None) -> Message:
        model = await self.service.model(request.name, request.version or None)
        return message_of("inference.ModelConfigResponse", {"config": model_config(model)})

    async def _statistics(self, request: Message, _deadline_s: float | None) -> Message:
        found = self.service.statistics(request.name or None, request.version or None)
        return message_of("inference.ModelStatisticsResponse", statistics(found))

    async def _index(self, request: Message, _deadline_s: float | None) -> Message:
        states = self.service.index(ready_only=request.ready)
        return message_of("inference.RepositoryIndexResponse", {"models": repository_index(states)})

    async def _load(self, request: Message, _deadline_s: float | None) -> Message:
        if request.parameters:
            raise loading_with(request.parameters)
        await self.service.load(request.model_name)
        return _message("RepositoryModelLoadResponse")

    async def _unload(self, request: Message, _deadline_s: float | None) -> Message:
        await self.service.unload(request.model_name)
        return _message("RepositoryModelUnloadResponse")


def _message(name: str, **fields: object) -> Message:
    return message_type(f"inference.{name}")(**fields)

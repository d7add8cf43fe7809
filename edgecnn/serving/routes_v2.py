"""The Open Inference Protocol v2 over HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from edgecnn.serving.content_coding import accepted_coding, compress, decompress
from edgecnn.serving.faults import BadRequestError, UnavailableError
from edgecnn.serving.http.message import Body, Headers, Request, Response, json_response
from edgecnn.serving.http.routing import Router
from edgecnn.serving.infer_call import loading_with, pinned, run_call, unready_model
from edgecnn.serving.open_inference.answers import EncodedAnswer, encode_answer
from edgecnn.serving.open_inference.calls import decode_call
from edgecnn.serving.open_inference.contract import Service
from edgecnn.serving.open_inference.documents import (
    model_config,
    model_metadata,
    repository_index,
    server_metadata,
    statistics,
)

__all__ = ["add_v2_routes"]

_HEADER_LENGTH: Final = "inference-header-content-length"
_BINARY: Final = "application/octet-stream"

#: Answers in JSON from this size on are compressed for clients that take it: many images' scores.
_COMPRESSED_BYTES: Final = 65536

#: What a request for the index, for loading or unloading may have for a body.
_CONTROL_BYTES: Final = 65536


def add_v2_routes(router: Router, service: Service, *, max_body_bytes: int) -> None:
    """Make ``router`` answer the protocol's paths.

    Args:
        router: gets the routes; health needs no API key there.
        service: the models.
        max_body_bytes: of an infer request, also once it is decompressed.
    """
    v2 = _V2(service, max_body_bytes)
    for method, pattern, handler, max_body, public in (
        ("GET", "", v2.server, None, False),
        ("GET", "/health/live", v2.live, None, True),
        ("GET", "/health/ready", v2.ready, None, True),
        ("GET", "/models/stats", v2.statistics, None, False),
        ("POST", "/repository/index", v2.index, _CONTROL_BYTES, False),
        ("POST", "/repository/models/{model}/load", v2.load, _CONTROL_BYTES, False),
        ("POST", "/repository/models/{model}/unload", v2.unload, _CONTROL_BYTES, False),
    ):
        router.route(method, f"/v2{pattern}", handler, max_body=max_body, public=public)
    for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        router.route("GET", model, v2.metadata)
        router.route("GET", f"{model}/ready", v2.model_ready, public=True)
        router.route("GET", f"{model}/config", v2.config)
        router.route("GET", f"{model}/stats", v2.statistics)
        router.route("POST", f"{model}/infer", v2.infer, max_body=max_body_bytes)


@dataclass(frozen=True, slots=True)
class _V2:
    """One handler for each path.

    Attributes:
        service: the models.
        max_body_bytes: of an infer request.
    """

    service: Service
    max_body_bytes: int

    async def server(self, _request: Request) -> Response:
        return json_response(server_metadata())

    async def live(self, _request: Request) -> Response:
        if not self.service.live():
            raise UnavailableError("The server does not work.", "Restart it; its log says why.")
        return json_response({"live": True})

    async def ready(self, _request: Request) -> Response:
        if not self.service.ready():
            raise _unready(self.service)
        return json_response({"ready": True})

    async def model_ready(self, request: Request) -> Response:
        name, version = _named(request)
        if not self.service.ready_model(name, version):
            raise unready_model(self.service, name, version)
        return json_response({"name": name, "ready": True})

    async def metadata(self, request: Request) -> Response:
        name, version = _named(request)
        model = await self.service.model(name, version)
        versions = [state.version for state in self.service.index() if state.name == name]
        return json_response(model_metadata(model, versions))

    async def config(self, request: Request) -> Response:
        return json_response(model_config(await self.service.model(*_named(request))))

    async def statistics(self, request: Request) -> Response:
        parameters = request.parameters
        found = self.service.statistics(parameters.get("model"), parameters.get("version"))
        return json_response(statistics(found))

    async def index(self, request: Request) -> Response:
        ready = _control(request).ready
        return json_response(repository_index(self.service.index(ready_only=ready)))

    async def load(self, request: Request) -> Response:
        given = _control(request).parameters
        if given:
            raise loading_with(given)
        await self.service.load(request.parameters["model"])
        return json_response({})

    async def unload(self, request: Request) -> Response:
        _control(request)
        await self.service.unload(request.parameters["model"])
        return json_response({})

    async def infer(self, request: Request) -> Response:
        name, version = _named(request)
        model = await self.service.model(name, version)
        notes = request.served
        notes.model, notes.version = model.name, model.version
        served = pinned(model)
        body = await _plain_body(request, self.max_body_bytes)
        call = decode_call(served, body, request.headers.get(_HEADER_LENGTH))
        notes.images = len(call.images)
        inference = await run_call(model, call, request.received_s)
        notes.queue_ms = inference.queue_ns / 1e6
        notes.compute_ms = inference.compute_ns / 1e6
        return await _answered(request, encode_answer(served, call, inference.scores))


class _Control(msgspec.Struct):
    """What a request to the repository may say."""

    ready: bool = False
    parameters: dict[str, Any] = {}


_CONTROL: Final = msgspec.json.Decoder(_Control)


def _unready(service: Service) -> UnavailableError:
    """Why a server is not ready."""
    failed = [
        f"{state.name} (version {state.version}): {state.reason}"
        for state in service.index()
        if state.state == "UNAVAILABLE"
    ]
    if not failed:
        return UnavailableError("The server is not ready.", "It is starting or stopping: try again later.")
    return UnavailableError(
        f"The server is not ready: {'; '.join(failed)}.", "Replace the model's file and load it, or restart."
    )


def _control(request: Request) -> _Control:
    if not len(request.body):
        return _Control()
    try:
        return _CONTROL.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(
            f"The request's JSON cannot be used: {error}.", "Send an object, or no body."
        ) from error


def _named(request: Request) -> tuple[str, str | None]:
    return request.parameters["model"], request.parameters.get("version")


async def _plain_body(request: Request, max_bytes: int) -> Body:
    coding = request.headers.get("content-encoding", "identity")
    if coding == "identity":
        return request.body
    return await asyncio.to_thread(decompress, memoryview(request.body), coding, max_bytes)


async def _answered(request: Request, answer: EncodedAnswer) -> Response:
    if answer.binary is not None:
        headers: Headers = ((_HEADER_LENGTH, str(len(answer.json))),)
        return Response(200, (answer.json, answer.binary), _BINARY, headers)
    coding = accepted_coding(request.headers.get("accept-encoding", ""))
    if coding is None or len(answer.json) < _COMPRESSED_BYTES:
        return Response(200, answer.json)
    body = await asyncio.to_thread(compress, answer.json, coding)
    return Response(200, body, headers=(("content-encoding", coding),))

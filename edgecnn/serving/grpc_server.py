"""The Open Inference Protocol v2 over gRPC."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from edgecnn.errors import UsageError
from edgecnn.serving.faults import RequestError
from edgecnn.serving.grpc_answers import FAILURE, status_of, trailers_of
from edgecnn.serving.grpc_methods import GrpcMethods, Method
from edgecnn.serving.grpc_stream import answer_stream
from edgecnn.serving.open_inference.contract import Service
from edgecnn.serving.open_inference.messages import (
    HEALTH,
    SERVICE,
    Message,
    MessageType,
    message_type,
    methods,
    parse_message,
)
from edgecnn.serving.workers.listening import require_free

__all__ = ["GrpcServer", "GrpcSettings"]

#: A deadline further away than this is none: gRPC says so of calls without one.
_NEVER_S: Final = 1e9

#: Who may ask whether the server lives needs no key.
_PUBLIC: Final = frozenset({"ServerLive", "ServerReady", "ModelReady", "Check"})

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_LOG: Final = logging.getLogger("edgecnn.serving")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcSettings:
    """How the gRPC side of a server listens.

    Attributes:
        host: a name or an address.
        port: 0 for any that is free.
        max_message_bytes: of a request; larger ones are refused before they are read.
        max_calls: that are worked on at a time, of all clients together, a stream being one; more are refused
            at once.
        max_stream_calls: of one stream that are worked on at a time; more wait on the client's side.
        reuse_port: whether other processes may listen on the same port.
        certificate: of TLS, in PEM with its chain; None for no TLS.
        key: its private key.
    """

    host: str = "127.0.0.1"
    port: int = 8001
    max_message_bytes: int = 64 * 1024 * 1024
    max_calls: int = 1024
    max_stream_calls: int = 32
    reuse_port: bool = False
    certificate: Path | None = None
    key: Path | None = None


class GrpcServer:
    """Serves the models of a service until it is drained."""

    def __init__(
        self,
        service: Service,
        settings: GrpcSettings,
        check_key: Callable[[Mapping[str, str]], None] | None = None,
        refused: Callable[[RequestError], None] = lambda _: None,
    ) -> None:
        """Make a server that does not listen yet. Must be called where an event loop runs.

        Args:
            service: the models.
            settings: how it listens.
            check_key: given a call's metadata by lower-case name, raises UnauthorizedError for a client
                that may not ask; None if everybody may.
            refused: told of every error that a client is answered.
        """
        self._settings = settings
        self._check_key = check_key
        self._refused = refused
        answering = GrpcMethods(service)
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=settings.max_calls,
            options=(
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", int(settings.reuse_port)),
            ),
        )
        unary = {name: self._unary(SERVICE, name, method) for name, method in answering.of_protocol().items()}
        unary["ModelStreamInfer"] = self._stream(answering.infer)
        health = {"Check": self._unary(HEALTH, "Check", answering.health)}
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, unary),
                grpc.method_handlers_generic_handler(HEALTH, health),
            )
        )

    async def listen(self) -> tuple[str, int]:
        """Start to take calls.

        Returns:
            Host and port, the one really bound.

        Raises:
            UsageError: the port is taken, or certificate or key cannot be used.
        """
        settings = self._settings
        address = (
            f"[{settings.host}]:{settings.port}"
            if ":" in settings.host
            else f"{settings.host}:{settings.port}"
        )
        credentials = _credentials(settings)
        if not settings.reuse_port:
            require_free(settings.host, settings.port)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            tls = " Certificate and key must belong together." if credentials is not None else ""
            raise UsageError(
                f"gRPC cannot listen on {address}.",
                f"Choose another port with --grpc-port; 0 takes a free one.{tls}",
            ) from error
        await self._server.start()
        return settings.host, port

    async def drain(self, timeout_s: float) -> None:
        """Take no more calls, wait for those in flight, and cancel what is left after ``timeout_s``."""
        await self._server.stop(timeout_s)

    def _unary(self, service: str, name: str, method: Method) -> grpc.RpcMethodHandler:
        request_type = _request_type(service, name)
        public = name in _PUBLIC

        # Messages are parsed here and not by gRPC, which would call a bad one the server's own failure.
        async def handle(data: bytes, context: Context) -> Message:
            try:
                if not public:
                    self._admit(context)
                return await method(parse_message(request_type, data), _deadline_s(context))
            except Exception as error:  # noqa: BLE001 - whatever it is, the client is told something
                refusal = self._refusal(error, name)
            return await context.abort(status_of(refusal), refusal.sentence, trailers_of(refusal))

        return grpc.unary_unary_rpc_method_handler(handle, response_serializer=_serialised)

    def _stream(self, infer: Method) -> grpc.RpcMethodHandler:
        request_type = _request_type(SERVICE, "ModelStreamInfer")
        answer_type = message_type("inference.ModelStreamInferResponse")

        async def handle(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Message]:
            async def answer(data: bytes) -> Message:
                request = None
                try:
                    request = parse_message(request_type, data)
                    return _last(answer_type(infer_response=await infer(request, _deadline_s(context))))
                except Exception as error:  # noqa: BLE001 - likewise, and the stream goes on
                    refusal = self._refusal(error, "ModelStreamInfer")
                    given = {} if request is None else {"id": request.id, "model_name": request.model_name}
                    return _last(answer_type(error_message=refusal.sentence, infer_response=given))

            try:
                self._admit(context)
            except RequestError as error:
                self._refused(error)
                await context.abort(status_of(error), error.sentence, trailers_of(error))
            async for answered in answer_stream(requests, answer, self._settings.max_stream_calls):
                yield answered

        return grpc.stream_stream_rpc_method_handler(handle, response_serializer=_serialised)

    def _admit(self, context: Context) -> None:
        if self._check_key is not None:
            metadata = context.invocation_metadata() or ()
            self._check_key({key: value for key, value in metadata if isinstance(value, str)})

    def _refusal(self, error: Exception, name: str) -> RequestError:
        if not isinstance(error, RequestError):
            _LOG.error("%s failed", name, exc_info=error)
            error = FAILURE
        self._refused(error)
        return error


def _request_type(service: str, name: str) -> MessageType:
    return message_type(methods(service)[name].input_type.full_name)


def _serialised(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _last(answer: Message) -> Message:
    """A request has one answer; clients of streams in which it may have several look for this mark."""
    answer.infer_response.parameters["triton_final_response"].bool_param = True
    return answer


def _deadline_s(context: Context) -> float | None:
    left_s: float | None = context.time_remaining()
    if left_s is None or left_s > _NEVER_S:
        return None
    return asyncio.get_running_loop().time() + left_s


def _credentials(settings: GrpcSettings) -> grpc.ServerCredentials | None:
    if settings.certificate is None or settings.key is None:
        return None
    try:
        pair = (settings.key.read_bytes(), settings.certificate.read_bytes())
    except OSError as error:
        raise UsageError(f"TLS cannot be set up: {error}.", "Name readable files in PEM.") from error
    return grpc.ssl_server_credentials([pair])

"""The server put together: models, HTTP, gRPC; in one process, or as one of several workers."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgecnn import __version__
from edgecnn.environment import usable_cores
from edgecnn.errors import UsageError
from edgecnn.serving.faults import (
    DeadlineError,
    OverloadedError,
    RequestError,
    ServerFailureError,
    UnavailableError,
)
from edgecnn.serving.grpc_server import GrpcServer, GrpcSettings
from edgecnn.serving.http.access_log import AccessLog
from edgecnn.serving.http.api_keys import ApiKeys, read_api_keys
from edgecnn.serving.http.cors import Cors
from edgecnn.serving.http.limits import HttpLimits
from edgecnn.serving.http.message import Request
from edgecnn.serving.http.routing import Router
from edgecnn.serving.http.server import HttpServer
from edgecnn.serving.http.tls import server_tls
from edgecnn.serving.logs import log_to_stderr
from edgecnn.serving.openapi import openapi_document
from edgecnn.serving.routes_page import add_page_routes
from edgecnn.serving.routes_v1 import add_v1_routes
from edgecnn.serving.routes_v2 import add_v2_routes
from edgecnn.serving.service import InferenceService
from edgecnn.serving.workers.channel import WorkerChannel
from edgecnn.serving_config import ServerSettings, ServingConfig

__all__ = ["Addresses", "WorkerDocument", "run_worker", "serve"]

#: How often a worker that is one of several writes its gauges to the folder that they share.
_SAMPLE_S = 1.0

#: How long a thread that comes back from an engine waits for the interpreter at most. Python's own 5 ms,
#: several times a call, would be longer than most calls.
_SWITCH_S = 0.0005

#: Reasons that a model counts itself, under its name.
_COUNTED_BY_MODELS = frozenset(
    each.reason for each in (OverloadedError, UnavailableError, DeadlineError, ServerFailureError)
)

#: Bodies that are held at the same time, in units of the largest one.
_BODIES = 8


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server listens, as ``host:port``; ``grpc`` is None where there is none."""

    http: str
    grpc: str | None
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDocument:
    """What the supervisor hands to each worker.

    Attributes:
        config: of the server.
        verbose: what goes on is logged, not only warnings.
        grpc_port: that all workers share; None for no gRPC.
    """

    config: ServingConfig
    verbose: bool = False
    grpc_port: int | None = None


class _Parts:
    """What one process serves with. Made inside its event loop."""

    def __init__(self, config: ServingConfig, *, cores: int | None = None) -> None:
        sys.setswitchinterval(_SWITCH_S)
        settings = config.server
        self._settings = settings
        keys = None if settings.api_keys is None else read_api_keys(Path(settings.api_keys))
        tls = _tls_files(settings)
        self.service = InferenceService(config, cores=cores)
        limits = _limits(settings)
        self.http = HttpServer(
            self._router(keys, limits),
            limits,
            AccessLog() if settings.access_log else None,
            observe=self._observe,
            changed=self._changed,
            ssl_context=None if tls is None else server_tls(*tls),
        )
        self._keys, self._tls = keys, tls
        self.connections_changed: Callable[[int], None] = lambda _: None
        self._grpc: GrpcServer | None = None

    async def listen_grpc(self, port: int, *, shared: bool = False) -> str:
        """Let clients ask by gRPC as well; returns where."""
        certificate, key = self._tls or (None, None)
        grpc_settings = GrpcSettings(
            host=self._settings.host,
            port=port,
            max_message_bytes=_bytes(self._settings.max_body_mb),
            reuse_port=shared,
            certificate=certificate,
            key=key,
        )
        check_key = None if self._keys is None else self._keys.check
        self._grpc = GrpcServer(self.service, grpc_settings, check_key, self._note_refusal)
        return _address(*await self._grpc.listen())

    async def stop(self) -> None:
        """Answer what was begun, in the time that there is for it, and free everything."""
        drain_s = self._settings.drain_s
        self.service.leave()
        servers = [self.http.drain(drain_s)]
        if self._grpc is not None:
            servers.append(self._grpc.drain(drain_s))
        await asyncio.gather(*servers)
        await self.service.stop()

    def _router(self, keys: ApiKeys | None, limits: HttpLimits) -> Router:
        router = Router(keys, Cors(self._settings.cors_origins))
        add_v2_routes(router, self.service, max_body_bytes=limits.max_body_bytes)
        add_v1_routes(router, self.service)
        add_page_routes(
            router,
            lambda: openapi_document(__version__, [model.name for model in self.service.models()]),
        )
        return router

    def _observe(self, request: Request, status: int, duration_s: float) -> None:
        self.service.metrics.answered_http(request.route, duration_s)
        if request.served.refusal is not None:
            self._count_refusal(request.served.refusal, request.parameters.get("model", ""))

    def _note_refusal(self, error: RequestError) -> None:
        self._count_refusal(error.reason)

    def _count_refusal(self, reason: str, model: str = "") -> None:
        if reason not in _COUNTED_BY_MODELS:
            known = model if self.service.knows(model) else ""  # a label for what exists only
            self.service.metrics.refusals.labels(known, reason).inc()

    def _changed(self) -> None:
        self.service.metrics.connections.set(self.http.connections)
        self.connections_changed(self.http.connections)


async def serve(config: ServingConfig, ready: Callable[[Addresses], None], stop: asyncio.Event) -> None:
    """Serve in this process until ``stop`` is set, then drain.

    It listens before the models are loaded, so that whoever asks is told that it is not ready yet.

    Args:
        config: what is served, and where.
        ready: called once, when all models are loaded and warm.
        stop: set to end it.

    Raises:
        UsageError: a port cannot be had, or a setting is wrong.
        EdgecnnError: a model that was named does not load.
    """
    parts = _Parts(config)
    settings = config.server
    try:
        http = _address(*await parts.http.listen(settings.host, settings.port))
        grpc = await parts.listen_grpc(settings.grpc_port) if settings.grpc else None
        if await _started(parts.service, stop, strict=config.repository is None):
            _settle_memory()
            ready(Addresses(http, grpc, (os.getpid(),)))
        await stop.wait()
    finally:
        await parts.stop()


async def _started(service: InferenceService, stop: asyncio.Event, *, strict: bool) -> bool:
    """Load the models; False if the server is stopped meanwhile."""
    starting = asyncio.ensure_future(service.start(strict=strict))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        return False
    starting.result()
    return not stop.is_set()


async def run_worker(channel: WorkerChannel, document: Mapping[str, Any]) -> None:
    """Serve the connections that the supervisor passes on; a :class:`WorkerDocument` says what.

    Raises:
        UsageError: a setting is wrong.
        EdgecnnError: a model that was named does not load.
    """
    told = msgspec.convert(document, WorkerDocument, strict=False)
    log_to_stderr(verbose=told.verbose and channel.index == 0, access=told.config.server.access_log)
    parts = _Parts(told.config, cores=max(1, usable_cores() // channel.workers))
    service = parts.service
    service.spread = lambda message: channel.broadcast(message, keep=_topic(message))
    channel.on_broadcast(service.obey)
    channel.on_shed(parts.http.shed)
    parts.connections_changed = lambda count: channel.report(open_connections=count)
    taking = asyncio.create_task(_take(channel, parts.http))
    sampling = asyncio.create_task(_sample(service))
    try:
        if told.grpc_port is not None:
            await parts.listen_grpc(told.grpc_port, shared=True)
        if await _started(service, channel.stopping, strict=told.config.repository is None):
            _settle_memory()
            channel.ready()
            await channel.stopping.wait()
    finally:
        await parts.stop()
        sampling.cancel()
        taking.cancel()  # it ends by itself only when the supervisor says so


def _settle_memory() -> None:
    """Let garbage collections pass over what a ready server consists of: all of it stays until the end."""
    gc.collect()
    gc.freeze()


async def _take(channel: WorkerChannel, http: HttpServer) -> None:
    arriving: set[asyncio.Task[None]] = set()
    async for sock in channel.connections():
        task = asyncio.create_task(http.accept(sock))
        arriving.add(task)
        task.add_done_callback(arriving.discard)


async def _sample(service: InferenceService) -> None:
    """Tell the folder of metrics what the gauges say: whichever worker is asked, it answers for all."""
    while True:
        service.sample()
        await asyncio.sleep(_SAMPLE_S)


def _topic(message: Mapping[str, Any]) -> str:
    return f"model {message.get('load') or message.get('unload')}"


def _tls_files(settings: ServerSettings) -> tuple[Path, Path] | None:
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise UsageError("TLS needs a certificate and its key.", "Give both --tls-certificate and --tls-key.")
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Path(settings.tls_certificate), Path(settings.tls_key)


def _limits(settings: ServerSettings) -> HttpLimits:
    body = _bytes(settings.max_body_mb)
    return HttpLimits(
        max_connections=settings.max_connections, max_body_bytes=body, max_body_bytes_in_flight=_BODIES * body
    )


def _bytes(mib: float) -> int:
    return round(mib * 2**20)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""A serving configuration: which models to serve and how, as a TOML file that people edit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec

from edgecnn.atomic import replacing
from edgecnn.errors import UnknownNameError, UsageError
from edgecnn.versioned import Form

__all__ = [
    "SERVING_VERSION",
    "Host",
    "ModelSettings",
    "RepositorySettings",
    "RunSettings",
    "ServerSettings",
    "ServingConfig",
    "decode_serving_config",
    "encode_serving_config",
    "write_serving_config",
]

SERVING_VERSION = "edgecnn.serve/1"

_FORM = Form(
    schema=SERVING_VERSION,
    damage="is no serving configuration",
    error=UsageError,
    newer="write it again with 'edgecnn tune MODEL'",
    repair="Correct it, or write it again: edgecnn tune MODEL",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a model is run. What is None the server finds out by measuring, or leaves to the engine.

    Attributes:
        engine: with its options, as ``--engine`` takes it.
        instances: engines side by side (``--instances``).
        threads: of each (``--threads``).
        max_batch: images of one call at the most (``--max-batch``).
        max_delay_ms: what a request may wait for others while an engine is free (``--max-delay-ms``).
    """

    engine: str = "ort"
    instances: int | None = None
    threads: int | None = None
    max_batch: int | None = None
    max_delay_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("instances", "threads", "max_batch"):
            _require(name, getattr(self, name), least=1)
        _require("max_delay_ms", self.max_delay_ms, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings(RunSettings):
    """One model, and how it is run.

    Attributes:
        path: of the model file.
        name: under which clients ask for it; the network's name if None.
        spec: for a file that carries none: a network whose input it takes, or a JSON file.
        sha256: of the file's content, where the figures below were measured, so that they are not taken for
            another file's.
        call_ms: median time of a call by its batch, all instances busy, as measured.
        images_per_s: of all instances together by batch, as measured.
    """

    path: str
    name: str | None = None
    spec: str | None = None
    sha256: str | None = None
    call_ms: dict[int, float] = field(default_factory=dict)
    images_per_s: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySettings(RunSettings):
    """A folder of models, ``name/version/model.onnx``, and how they are run, each of them.

    Attributes:
        path: of the folder.
    """

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What the server listens on, and what it refuses.

    Attributes:
        host: the address; only this machine reaches the default one.
        port: of HTTP; 0 for any free one.
        grpc: whether the Open Inference Protocol is served by gRPC too.
        grpc_port: 0 for any free one.
        workers: processes that share the port.
        timeout_ms: what a request may take, from its last byte until its answer, unless it says less.
        max_queue: images of one model that may wait; more are refused at once.
        max_images: of one request.
        max_pixels: of one image file.
        max_body_mb: of one request, in units of 2**20 bytes.
        max_connections: open at the same time.
        drain_s: what requests in work get to end when the server is told to stop.
        api_keys: a file of keys, one a line, of which every request must have one; None for no keys.
        cors_origins: from which pages of other origins may call, "*" for all; empty for none.
        tls_certificate: a file in PEM form; with ``tls_key`` it makes the server speak TLS only.
        tls_key: the key of the certificate.
        model_control: whether clients may load and unload models.
        access_log: whether each request gets a line on stderr.
        memory_limit_mb: models that were not used for longest are unloaded above it; None for no limit.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    grpc: bool = True
    grpc_port: int = 8001
    workers: int = 1
    timeout_ms: float = 10_000.0
    max_queue: int = 256
    max_images: int = 64
    max_pixels: int = 50_000_000
    max_body_mb: float = 64.0
    max_connections: int = 1024
    drain_s: float = 30.0
    api_keys: str | None = None
    cors_origins: tuple[str, ...] = ()
    tls_certificate: str | None = None
    tls_key: str | None = None
    model_control: bool = False
    access_log: bool = False
    memory_limit_mb: float | None = None

    def __post_init__(self) -> None:
        for name in ("port", "grpc_port"):
            _require(name, getattr(self, name), least=0, most=65535)
        for name in ("workers", "max_queue", "max_images", "max_pixels", "max_connections"):
            _require(name, getattr(self, name), least=1)
        for name in ("timeout_ms", "max_body_mb", "memory_limit_mb"):
            _require(name, getattr(self, name), least=1e-6)
        _require("drain_s", self.drain_s, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where it was measured, for what.

    Attributes:
        cpu: its model name.
        cores: usable ones.
        os: name and kernel.
        measured: when, ISO 8601 in UTC.
        versions: of packages that decide the speed.
        gpu: None without one.
        objective: what was looked for: "latency" or "throughput".
        max_latency_ms: the limit that was asked for.
    """

    cpu: str
    cores: int
    os: str
    measured: str
    objective: str
    max_latency_ms: float | None = None
    gpu: str | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """One document: what a person leaves out has its default.

    Attributes:
        model: the models, each a table ``[[model]]``.
        repository: the table ``[repository]``: a folder of models beside them.
        server: the table ``[server]``.
        host: where the models' figures come from; None for a file that was written by hand.
        schema: the version of this form.
    """

    model: tuple[ModelSettings, ...] = ()
    repository: RepositorySettings | None = None
    server: ServerSettings = field(default_factory=ServerSettings)
    host: Host | None = None
    schema: str = SERVING_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """A person may leave the version out."""

    schema: str = SERVING_VERSION


def encode_serving_config(config: ServingConfig) -> str:
    """The TOML text of ``config``, without what is None, which TOML cannot say."""
    values = msgspec.to_builtins(config, str_keys=True)
    ordered = {"schema": values.pop("schema"), **values}  # before the first table, or it would belong to it
    return msgspec.toml.encode(_said(ordered)).decode()


def decode_serving_config(text: str, *, origin: str) -> ServingConfig:
    """Read what :func:`encode_serving_config` or a person wrote.

    Args:
        text: the TOML text.
        origin: the file it came from, for the message.

    Raises:
        UsageError: not TOML, another version, or a field that is missing or of the wrong type.
    """
    with _FORM.reading(origin):
        _FORM.require(msgspec.toml.decode(text, type=_Version).schema, origin)
        _require_known(msgspec.toml.decode(text), origin)
        return msgspec.toml.decode(text, type=ServingConfig, strict=False)


def write_serving_config(config: ServingConfig, path: Path) -> None:
    """Write ``config`` to ``path``; an older file survives until the new one is complete.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(encode_serving_config(config), encoding="utf-8")


def _require(name: str, value: float | None, *, least: float, most: float = math.inf) -> None:
    """Refuse what the option of the command line would not take either.

    Raises:
        ValueError: ``value`` is out of range; msgspec makes it an error of the document.
    """
    if value is not None and not least <= value <= most:
        wanted = f"from {least:g} to {most:g}" if most < math.inf else f"{least:g} or more"
        raise ValueError(f"{name} is {value:g}, and must be {wanted}")


def _require_known(document: Mapping[str, Any], origin: str) -> None:
    """Refuse a word that means nothing: a misspelt limit must not be a limit that is not there."""
    types = {
        "": ServingConfig,
        "server": ServerSettings,
        "model": ModelSettings,
        "repository": RepositorySettings,
    }
    tables = {name: document.get(name, {}) for name in types} | {"": document}
    for table, found in tables.items():
        known = {each.name for each in fields(types[table])}
        where = f"setting of [{table}] in {origin}" if table else f"setting in {origin}"
        for each in found if isinstance(found, list) else [found]:
            for name in each if isinstance(each, dict) else ():
                if name not in known:
                    raise UnknownNameError(where, name, known)


def _said(value: object) -> object:
    """``value`` without the members of tables that are None."""
    if isinstance(value, dict):
        return {key: _said(member) for key, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [_said(member) for member in value]
    return value

"""A serving configuration: which model to serve and how, as a TOML file that people edit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edgecnn.atomic import replacing
from edgecnn.errors import UsageError

__all__ = [
    "SERVING_VERSION",
    "Batching",
    "Host",
    "ServedEngine",
    "ServedModel",
    "ServingConfig",
    "decode_serving_config",
    "encode_serving_config",
    "write_serving_config",
]

SERVING_VERSION = "edgecnn.serve/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What is served.

    Attributes:
        path: of the model file.
        network: from its spec.
        sha256: of its content, so that figures of another file are not taken for its own.
    """

    path: str
    network: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedEngine:
    """What runs it.

    Attributes:
        engine: with its options, as ``--engine`` takes it.
        instances: engines side by side (``--instances``).
        threads: of each (``--threads``); None leaves them to the engine.
    """

    engine: str
    instances: int = 1
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How requests are put together.

    Attributes:
        max_batch: images of one call at the most (``--max-batch``).
        max_delay_ms: what a request may wait for others while an engine is free (``--max-delay-ms``).
        call_ms: median time of a call by its batch, all instances busy, as measured.
        images_per_s: of all instances together by batch, as measured.
    """

    max_batch: int = 1
    max_delay_ms: float = 0.0
    call_ms: dict[int, float] = field(default_factory=dict)
    images_per_s: dict[int, float] = field(default_factory=dict)


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
    """One document. Only the model is required: what a person leaves out has its default.

    Attributes:
        model: what is served.
        engine: what runs it.
        batching: how requests are put together.
        host: where the figures come from; None for a file that was written by hand.
        schema: the version of this form.
    """

    model: ServedModel
    engine: ServedEngine
    batching: Batching = field(default_factory=Batching)
    host: Host | None = None
    schema: str = SERVING_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    schema: str = SERVING_VERSION


def encode_serving_config(config: ServingConfig) -> str:
    """The TOML text of ``config``, without what is None, which TOML cannot say."""
    fields = msgspec.to_builtins(config, str_keys=True)
    ordered = {"schema": fields.pop("schema"), **fields}  # before the first table, or it would belong to it
    return msgspec.toml.encode(_said(ordered)).decode()


def decode_serving_config(text: str, *, origin: str) -> ServingConfig:
    """Read what :func:`encode_serving_config` or a person wrote.

    Args:
        text: the TOML text.
        origin: the file it came from, for the message.

    Raises:
        UsageError: not TOML, another version, or a field that is missing or of the wrong type.
    """
    try:
        version = msgspec.toml.decode(text, type=_Version).schema
        if version != SERVING_VERSION:
            raise UsageError(
                f"{origin}: its schema is {version!r}, and this edgecnn reads {SERVING_VERSION!r}.",
                "Use the edgecnn that wrote it, or write it again: edgecnn tune MODEL",
            )
        return msgspec.toml.decode(text, type=ServingConfig, strict=False)
    except msgspec.DecodeError as error:
        raise UsageError(
            f"{origin} is no serving configuration: {error}.",
            "Correct it, or write it again: edgecnn tune MODEL",
        ) from error


def write_serving_config(config: ServingConfig, path: Path) -> None:
    """Write ``config`` to ``path``; an older file survives until the new one is complete.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(encode_serving_config(config), encoding="utf-8")


def _said(value: object) -> object:
    """``value`` without the members of tables that are None."""
    if isinstance(value, dict):
        return {key: _said(member) for key, member in value.items() if member is not None}
    return value

"""The protocol's gRPC messages: classes made from the descriptors that lie beside this file.

They live in a pool of their own. A client library for the same protocol registers messages of the same names
in protobuf's default pool, and both must be able to work in one process.

The descriptors are those of ``open_inference.proto`` and ``health.proto``::

    python -m grpc_tools.protoc -I . --descriptor_set_out=open_inference.desc *.proto
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

__all__ = [
    "DESCRIPTORS",
    "HEALTH",
    "SERVICE",
    "Message",
    "MessageType",
    "message_of",
    "message_type",
    "methods",
]

#: Made while running, so that no type checker knows their fields.
Message: TypeAlias = Any
MessageType: TypeAlias = Any

DESCRIPTORS: Final = "open_inference.desc"
SERVICE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"


def methods(service: str) -> dict[str, MethodDescriptor]:
    """The methods of a service, by name."""
    return dict(_pool().FindServiceByName(service).methods_by_name)


@cache
def message_type(name: str) -> MessageType:
    """The class of a message, by its full name."""
    return GetMessageClass(_pool().FindMessageTypeByName(name))


def message_of(name: str, document: dict[str, Any]) -> Message:
    """A message filled from a JSON value with the names of its fields."""
    return ParseDict(document, message_type(name)())


@cache
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    content = files("edgecnn.serving.open_inference").joinpath(DESCRIPTORS).read_bytes()
    for file in FileDescriptorSet.FromString(content).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool

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
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from edgecnn.serving.faults import BadRequestError

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

#: A request has a field for each input, output and parameter, and few besides.
_MAX_FIELDS: Final = 1000
#: Kinds of fields in protobuf's encoding.
_VARINT: Final = 0
_LENGTH: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4}
_GROUP: Final = (3, 4)
_MAX_VARINT_BYTES: Final = 10

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


def parse_message(wanted: MessageType, data: bytes) -> Message:
    """The message of type ``wanted`` that ``data`` hold.

    Raises:
        BadRequestError: they hold none, or one of far too many parts.
    """
    require_few_fields(data)
    try:
        return wanted.FromString(data)
    except DecodeError as error:
        raise BadRequestError(
            f"The message is no {wanted.DESCRIPTOR.full_name}: {error}.",
            "Use a client of the Open Inference Protocol v2.",
        ) from error


def require_few_fields(data: bytes) -> None:
    """Refuse a message of too many fields before it is parsed: two bytes may become a hundred.

    Only the outermost level is looked at; what lies deeper takes eighteen times its bytes at most.
    What breaks the rules of the encoding is left to protobuf, which says so.

    Raises:
        BadRequestError: more than a thousand fields.
    """
    offset, fields = 0, 0
    while offset < len(data):
        fields += 1
        if fields > _MAX_FIELDS:
            raise BadRequestError(
                f"The message has more than {_MAX_FIELDS} fields.", "Send one input, and few parameters."
            )
        tag, offset = _varint(data, offset)
        kind = tag & 7
        if kind in (_VARINT, _LENGTH):
            number, offset = _varint(data, offset)
            offset += number if kind == _LENGTH else 0
        elif kind in _FIXED_BYTES:
            offset += _FIXED_BYTES[kind]
        elif kind not in _GROUP:
            return  # there is no such kind


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """The number that begins at ``offset``, and where it ends (protobuf's encoding, "base 128 varints")."""
    number, shift = 0, 0
    for byte in data[offset : offset + _MAX_VARINT_BYTES]:
        number |= (byte & 0x7F) << shift
        shift += 7
        offset += 1
        if byte < 0x80:
            break
    return number, offset


@cache
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    content = files("edgecnn.serving.open_inference").joinpath(DESCRIPTORS).read_bytes()
    for file in FileDescriptorSet.FromString(content).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool

"""What an infer request says, before any of it is believed: its JSON, and where its binary data lie."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from edgecnn.serving.faults import BadRequestError

__all__ = ["Envelope", "InputPart", "OutputPart", "Parameters", "parse_envelope", "split_body"]

Parameters = dict[str, Any]

_Size = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Shape = Annotated[list[_Size], msgspec.Meta(max_length=8)]


class InputPart(msgspec.Struct):
    """One input as the client describes it.

    Attributes:
        name: of the model's input.
        shape: its dimensions, the batch first.
        datatype: the protocol's name of its element type.
        parameters: of the input; ``binary_data_size`` is one.
        data: its elements as JSON text; empty where they come as binary data.
    """

    name: str
    shape: _Shape
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw = msgspec.Raw()


class OutputPart(msgspec.Struct):
    """One output as the client wishes it."""

    name: str
    parameters: Parameters = {}


class Envelope(msgspec.Struct):
    """An infer request without its binary data. Fields that the protocol does not have are ignored."""

    inputs: list[InputPart]
    id: str = ""
    outputs: list[OutputPart] = []
    parameters: Parameters = {}


_ENVELOPE: Final = msgspec.json.Decoder(Envelope)


def split_body(
    body: bytes | bytearray | memoryview, header_length: str | None
) -> tuple[memoryview, memoryview]:
    """The JSON of a request and the binary data behind it, as views.

    Args:
        body: the whole of it.
        header_length: the header ``Inference-Header-Content-Length``, bytes of the JSON; None for all.

    Raises:
        BadRequestError: the header is no number, or larger than the body.
    """
    view = memoryview(body)
    if header_length is None:
        return view, view[:0]
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 16):
        raise BadRequestError(
            f"Inference-Header-Content-Length is {header_length[:32]!r}, which is no number of bytes.",
            "Set it to the length of the JSON that the body begins with.",
        )
    length = int(header_length)
    if not 0 < length <= len(view):
        raise BadRequestError(
            f"Inference-Header-Content-Length is {length}, and the body has {len(view)} bytes.",
            "Set it to the length of the JSON that the body begins with.",
        )
    return view[:length], view[length:]


def parse_envelope(text: bytes | memoryview) -> Envelope:
    """Read the JSON of an infer request.

    Raises:
        BadRequestError: not JSON, not UTF-8, nested too deep, or a field is missing or of the wrong type.
    """
    try:
        return _ENVELOPE.decode(text)
    except RecursionError as error:
        raise BadRequestError("The request's JSON is nested too deep.", _REMEDY) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(f"The request's JSON cannot be used: {error}.", _REMEDY) from error


_REMEDY: Final = (
    'Send {"inputs": [{"name": ..., "shape": [...], "datatype": ..., "data": [...]}]} as UTF-8, and set '
    "Inference-Header-Content-Length where binary data follow."
)

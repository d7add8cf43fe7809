"""What an infer request says, before any of it is believed: its JSON, and where its binary data lie."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from edgecnn.serving.faults import BadRequestError

__all__ = [
    "Envelope",
    "InputParameters",
    "InputPart",
    "OutputParameters",
    "OutputPart",
    "RequestParameters",
    "Wishes",
    "parse_envelope",
    "split_body",
]

#: A request has an object for itself, for each input and output, and for the parameters of each.
_MAX_OBJECTS: Final = 4096
_MAX_SHAPE_BYTES: Final = 1024


_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class InputParameters(msgspec.Struct, frozen=True):
    """What an input says of its data. Parameters that this server has no use for are skipped, here and below.

    Attributes:
        binary_data_size: bytes of it behind the JSON; None where the data are in the JSON.
        shared_memory_region: where the data are instead, which this server refuses.
    """

    binary_data_size: _Int64 | None = None
    shared_memory_region: str | None = None


class OutputParameters(msgspec.Struct, frozen=True):
    """How an output is wanted.

    Attributes:
        binary_data: as bytes behind the JSON; None leaves it to the request.
        classification: as so many best classes; None for the scores.
        shared_memory_region: where it is to go instead, which this server refuses.
    """

    binary_data: bool | None = None
    classification: _Int64 | None = None
    shared_memory_region: str | None = None


class RequestParameters(msgspec.Struct, frozen=True):
    """What a request says of itself.

    Attributes:
        binary_data_output: outputs are wanted as bytes behind the JSON where they do not say otherwise.
        timeout: how long the client waits, in microseconds; 0 for as long as the server allows.
    """

    binary_data_output: bool = False
    timeout: _Int64 = 0


class InputPart(msgspec.Struct):
    """One input as the client describes it.

    Attributes:
        name: of the model's input.
        shape: JSON text of its dimensions, the batch first.
        datatype: the protocol's name of its element type.
        parameters: of the input.
        data: JSON text of its elements; empty where they come as binary data.
    """

    name: str
    shape: msgspec.Raw
    datatype: str
    parameters: InputParameters = InputParameters()
    data: msgspec.Raw = msgspec.Raw()

    def sizes(self) -> list[int]:
        """The dimensions.

        Raises:
            BadRequestError: they are no list of a few whole numbers.
        """
        text = bytes(self.shape)
        try:
            if len(text) > _MAX_SHAPE_BYTES:
                raise msgspec.ValidationError(f"it is {len(text)} bytes long")
            return _SIZES.decode(text)
        except msgspec.DecodeError as error:
            raise BadRequestError(
                f"Input {self.name!r} has a shape that cannot be used: {error}.",
                "Give it as a list of whole numbers, the number of images first.",
            ) from error


class OutputPart(msgspec.Struct):
    """One output as the client wishes it."""

    name: str
    parameters: OutputParameters = OutputParameters()


class Wishes(msgspec.Struct, kw_only=True):
    """What a request says besides its inputs."""

    id: str = ""
    outputs: list[OutputPart] = []
    parameters: RequestParameters = RequestParameters()


class Envelope(Wishes, kw_only=True):
    """An infer request without its binary data. Fields that the protocol does not have are skipped."""

    inputs: list[InputPart]


_SIZES: Final[msgspec.json.Decoder[list[int]]] = msgspec.json.Decoder(
    Annotated[list[_Int64], msgspec.Meta(max_length=8)]
)
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
        BadRequestError: not JSON, not UTF-8, nested too deep, of too many parts, or a field is missing or of
            the wrong type.
    """
    objects = bytes(text).count(b"{")
    if objects > _MAX_OBJECTS:  # told before any is made: small ones take thirty times their text
        raise BadRequestError(f"The request's JSON has {objects} objects.", _REMEDY)
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

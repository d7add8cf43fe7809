"""An infer request, checked against the model: what is to be run, and how the answer is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
from numpy.typing import NDArray

from edgecnn.serving.faults import BadRequestError
from edgecnn.serving.open_inference.contract import Served
from edgecnn.serving.open_inference.envelope import (
    InputParameters,
    OutputPart,
    Wishes,
    parse_envelope,
    split_body,
)
from edgecnn.serving.open_inference.forms import Form, form_of
from edgecnn.serving.open_inference.tensors import (
    array_of_binary,
    array_of_json,
    strings_of_binary,
    strings_of_json,
)

__all__ = [
    "Files",
    "Images",
    "InferCall",
    "TensorHead",
    "WantedOutput",
    "checked_call",
    "decode_call",
    "images_of_binary",
    "require_one_input",
]

#: Encoded image files, views over the request's body where they came as binary data.
Files = tuple[bytes | memoryview, ...]
Images = NDArray[Any] | Files

#: Microseconds; larger ones are a client's mistake, and no clock could count to them.
_MAX_TIMEOUT_US: Final = 2**53


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """How the one output is wanted.

    Attributes:
        binary: as bytes behind the JSON, not as a list in it.
        classification: as so many best classes, best first; None for the scores.
    """

    binary: bool = False
    classification: int | None = None


@dataclass(frozen=True, slots=True)
class InferCall:
    """What is to be run.

    Attributes:
        id: the client's, given back with the answer; empty for none.
        images: (N, ...) in the model's own form or as (N, H, W, C) uint8 pixels, a view over the request's
            body where it came as binary data (perhaps unaligned); or N encoded image files.
        output: how the answer is wanted.
        timeout_us: how long the client waits, in microseconds; None where it does not say.
    """

    id: str
    images: Images
    output: WantedOutput
    timeout_us: int | None


@dataclass(frozen=True, slots=True)
class TensorHead:
    """The one input of a request, without its elements.

    Attributes:
        name: the model's own.
        datatype: as the client says.
        shape: likewise.
        parameters: of the input.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    parameters: InputParameters


def decode_call(model: Served, body: bytes | bytearray | memoryview, header_length: str | None) -> InferCall:
    """Read the body of an infer request over HTTP.

    Args:
        model: whose request it is.
        body: JSON, or JSON and binary data behind it; the result may hold views of it.
        header_length: the header ``Inference-Header-Content-Length``, None where there is none.

    Raises:
        BadRequestError: malformed, or it does not fit the model.
        TooLargeError: more images than one request may bring.
    """
    text, tail = split_body(body, header_length)
    envelope = parse_envelope(text)
    require_one_input(model, [part.name for part in envelope.inputs])
    part = envelope.inputs[0]
    head = TensorHead(part.name, part.datatype, part.sizes(), part.parameters)
    return checked_call(model, envelope, head, partial(_images, part.data, tail))


def require_one_input(model: Served, names: Sequence[str]) -> None:
    """Refuse a request whose inputs are not the model's one.

    Raises:
        BadRequestError: it is missing, there twice, or there is another.
    """
    wanted = model.spec.input.name
    for name in names:
        if name != wanted:
            raise BadRequestError(
                f"{model.name!r} has no input {name[:64]!r}.", f"Its one input is {wanted!r}."
            )
    if len(names) != 1:
        problem = (
            f"Input {wanted!r} is there {len(names)} times." if names else f"Input {wanted!r} is missing."
        )
        raise BadRequestError(problem, "Send it once, with all images in its first dimension.")


def checked_call(
    model: Served, wishes: Wishes, head: TensorHead, read_images: Callable[[TensorHead, Form], Images]
) -> InferCall:
    """The call that a request describes, once all that it says fits the model.

    Args:
        model: whose request it is.
        wishes: what the request says besides its input.
        head: its input.
        read_images: gets the images of the input, whose datatype and shape fit the model by then.

    Raises:
        BadRequestError: it does not fit the model.
        TooLargeError: more images than one request may bring.
    """
    _refuse_shared_memory(head.name, head.parameters.shared_memory_region)
    output = _wanted_output(model, wishes)
    timeout_us = _timeout_us(wishes.parameters.timeout)
    form = form_of(model, head.datatype, head.shape)
    return InferCall(wishes.id, read_images(head, form), output, timeout_us)


def images_of_binary(head: TensorHead, form: Form, data: bytes | memoryview) -> Images:
    """The images of an input that came as binary data.

    Raises:
        BadRequestError: the data are not what datatype and shape promise.
    """
    if form is Form.FILES:
        return strings_of_binary(head.name, head.shape[0], data)
    return array_of_binary(head.name, head.datatype, head.shape, data)


def _images(raw: msgspec.Raw, tail: memoryview, head: TensorHead, form: Form) -> Images:
    data, size = bytes(raw), head.parameters.binary_data_size
    if size is not None:
        return images_of_binary(head, form, _binary_data(head.name, data, size, tail))
    if len(tail):
        raise BadRequestError(
            f"{len(tail)} bytes follow the request's JSON, and input {head.name!r} has no binary_data_size.",
            'Give the input "parameters": {"binary_data_size": N}, or send nothing after the JSON.',
        )
    if not data:
        raise BadRequestError(
            f"Input {head.name!r} has no data.", 'Send "data", or binary data with "binary_data_size".'
        )
    if form is Form.FILES:
        return strings_of_json(head.name, head.shape[0], data)
    return array_of_json(head.name, head.datatype, head.shape, data)


def _binary_data(name: str, data: bytes, size: int, tail: memoryview) -> memoryview:
    if data:
        raise BadRequestError(f"Input {name!r} has both data and binary_data_size.", "Send one of them.")
    if size != len(tail):
        raise BadRequestError(
            f"Input {name!r} has binary_data_size {size}, and {len(tail)} bytes follow.",
            "Set binary_data_size and Inference-Header-Content-Length to the lengths that are sent.",
        )
    return tail


def _wanted_output(model: Served, wishes: Wishes) -> WantedOutput:
    """How the one output of the model is asked for; it is answered as well when nobody asks."""
    binary = wishes.parameters.binary_data_output
    if not wishes.outputs:
        return WantedOutput(binary)
    name = model.spec.output.name
    for part in wishes.outputs:
        if part.name != name:
            raise BadRequestError(
                f"{model.name!r} has no output {part.name[:64]!r}.", f"Its one output is {name!r}."
            )
    if len(wishes.outputs) != 1:
        raise BadRequestError(
            f"Output {name!r} is asked for {len(wishes.outputs)} times.", "Ask for it once."
        )
    return _read_output(wishes.outputs[0], binary)


def _read_output(part: OutputPart, binary: bool) -> WantedOutput:
    asked = part.parameters
    _refuse_shared_memory(part.name, asked.shared_memory_region)
    if asked.classification is not None and asked.classification < 1:
        raise BadRequestError(
            f"Output {part.name!r} is asked for with a classification of {asked.classification}.",
            "Ask for one class or more, or leave classification out to get the scores.",
        )
    return WantedOutput(binary if asked.binary_data is None else asked.binary_data, asked.classification)


def _timeout_us(timeout: int) -> int | None:
    if not 0 <= timeout <= _MAX_TIMEOUT_US:
        raise BadRequestError(
            f"The parameter timeout is {timeout}.",
            "Give a whole number of microseconds, or 0 for the server's own timeout.",
        )
    return timeout or None


def _refuse_shared_memory(name: str, region: str | None) -> None:
    if region is not None:
        raise BadRequestError(
            f"{name!r} is to be in shared memory, which this server does not use.",
            "Send the tensor as binary data: it is not copied on its way to the model.",
        )

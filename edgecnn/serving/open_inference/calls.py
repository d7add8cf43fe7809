"""An infer request, checked against the model: what is to be run, and how the answer is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from numpy.typing import NDArray

from edgecnn.serving.faults import BadRequestError
from edgecnn.serving.open_inference.contract import Served
from edgecnn.serving.open_inference.envelope import (
    Envelope,
    InputPart,
    OutputPart,
    Parameters,
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

__all__ = ["Files", "Images", "InferCall", "WantedOutput", "checked_call", "decode_call", "images_of_binary"]

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
    return checked_call(model, parse_envelope(text), partial(_images, tail))


def checked_call(
    model: Served, envelope: Envelope, read_images: Callable[[InputPart, Form], Images]
) -> InferCall:
    """The call that an envelope describes, once all that it says fits the model.

    Args:
        model: whose request it is.
        envelope: what the request says.
        read_images: gets the images of an input, whose datatype and shape fit the model by then.

    Raises:
        BadRequestError: it does not fit the model.
        TooLargeError: more images than one request may bring.
    """
    part = _one_input(model, envelope.inputs)
    output = _wanted_output(model, envelope)
    timeout_us = _timeout_us(envelope.parameters)
    form = form_of(model, part.datatype, part.shape)
    return InferCall(envelope.id, read_images(part, form), output, timeout_us)


def images_of_binary(part: InputPart, form: Form, data: bytes | memoryview) -> Images:
    """The images of an input that came as binary data.

    Raises:
        BadRequestError: the data are not what datatype and shape promise.
    """
    if form is Form.FILES:
        return strings_of_binary(part.name, part.shape[0], data)
    return array_of_binary(part.name, part.datatype, part.shape, data)


def _images(tail: memoryview, part: InputPart, form: Form) -> Images:
    size = part.parameters.get("binary_data_size")
    if size is not None:
        return images_of_binary(part, form, _binary_data(part, size, tail))
    if len(tail):
        raise BadRequestError(
            f"{len(tail)} bytes follow the request's JSON, and input {part.name!r} has no binary_data_size.",
            'Give the input "parameters": {"binary_data_size": N}, or send nothing after the JSON.',
        )
    data = bytes(part.data)
    if not data:
        raise BadRequestError(
            f"Input {part.name!r} has no data.", 'Send "data", or binary data with "binary_data_size".'
        )
    if form is Form.FILES:
        return strings_of_json(part.name, part.shape[0], data)
    return array_of_json(part.name, part.datatype, part.shape, data)


def _binary_data(part: InputPart, size: object, tail: memoryview) -> memoryview:
    if bytes(part.data):
        raise BadRequestError(f"Input {part.name!r} has both data and binary_data_size.", "Send one of them.")
    if type(size) is not int or size != len(tail):
        raise BadRequestError(
            f"Input {part.name!r} has binary_data_size {str(size)[:32]}, and {len(tail)} bytes follow.",
            "Set binary_data_size and Inference-Header-Content-Length to the lengths that are sent.",
        )
    return tail


def _one_input(model: Served, parts: Sequence[InputPart]) -> InputPart:
    name = model.spec.input.name
    for part in parts:
        if part.name != name:
            raise BadRequestError(
                f"{model.name!r} has no input {part.name[:64]!r}.", f"Its one input is {name!r}."
            )
    if len(parts) != 1:
        problem = f"Input {name!r} is there {len(parts)} times." if parts else f"Input {name!r} is missing."
        raise BadRequestError(problem, "Send it once, with all images in its first dimension.")
    _refuse_shared_memory(parts[0].name, parts[0].parameters)
    return parts[0]


def _wanted_output(model: Served, envelope: Envelope) -> WantedOutput:
    """How the one output of the model is asked for; it is answered as well when nobody asks."""
    binary = _flag("binary_data_output", envelope.parameters, default=False)
    if not envelope.outputs:
        return WantedOutput(binary)
    name = model.spec.output.name
    for part in envelope.outputs:
        if part.name != name:
            raise BadRequestError(
                f"{model.name!r} has no output {part.name[:64]!r}.", f"Its one output is {name!r}."
            )
    if len(envelope.outputs) != 1:
        raise BadRequestError(
            f"Output {name!r} is asked for {len(envelope.outputs)} times.", "Ask for it once."
        )
    return _read_output(envelope.outputs[0], binary)


def _read_output(part: OutputPart, binary: bool) -> WantedOutput:
    _refuse_shared_memory(part.name, part.parameters)
    binary = _flag("binary_data", part.parameters, default=binary)
    count = part.parameters.get("classification")
    if count is not None and (type(count) is not int or count < 1):
        raise BadRequestError(
            f"Output {part.name!r} is asked for with a classification of {str(count)[:32]}.",
            "Ask for one class or more, or leave classification out to get the scores.",
        )
    return WantedOutput(binary, count)


def _timeout_us(parameters: Parameters) -> int | None:
    timeout = parameters.get("timeout")
    if timeout is None:
        return None
    if type(timeout) is not int or not 0 <= timeout <= _MAX_TIMEOUT_US:
        raise BadRequestError(
            f"The parameter timeout is {str(timeout)[:32]}.",
            "Give a whole number of microseconds, or 0 for the server's own timeout.",
        )
    return timeout or None


def _flag(name: str, parameters: Parameters, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise BadRequestError(f"The parameter {name} is {str(value)[:32]!r}.", "Give true or false.")
    return value


def _refuse_shared_memory(name: str, parameters: Parameters) -> None:
    if "shared_memory_region" in parameters:
        raise BadRequestError(
            f"{name!r} is to be in shared memory, which this server does not use.",
            "Send the tensor as binary data: it is not copied on its way to the model.",
        )

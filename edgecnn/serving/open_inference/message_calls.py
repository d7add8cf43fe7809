"""An infer request and its answer as gRPC messages. What they may say is checked as over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from edgecnn.engines.base import Scores
from edgecnn.serving.faults import BadRequestError
from edgecnn.serving.open_inference.answers import output_tensor
from edgecnn.serving.open_inference.calls import (
    Images,
    InferCall,
    TensorHead,
    checked_call,
    images_of_binary,
    require_one_input,
)
from edgecnn.serving.open_inference.contract import Served
from edgecnn.serving.open_inference.envelope import (
    InputParameters,
    OutputParameters,
    OutputPart,
    RequestParameters,
    Wishes,
)
from edgecnn.serving.open_inference.forms import Form
from edgecnn.serving.open_inference.messages import Message, message_type
from edgecnn.serving.open_inference.tensors import array_of_numbers

__all__ = ["answer_message", "call_of_message"]

Parameters = TypeVar("Parameters", InputParameters, OutputParameters, RequestParameters)

#: The field of InferTensorContents that holds the elements of a datatype. FP16 has none.
_FIELDS: Final = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def call_of_message(model: Served, message: Message) -> InferCall:
    """Read a ModelInferRequest.

    Args:
        model: whose request it is.
        message: the result holds views of its bytes.

    Raises:
        BadRequestError: malformed, or it does not fit the model.
        TooLargeError: more images than one request may bring.
    """
    require_one_input(model, [part.name for part in message.inputs])
    part = message.inputs[0]
    head = TensorHead(part.name, part.datatype, part.shape, _parameters(part.parameters, InputParameters))
    outputs = [
        OutputPart(each.name, _parameters(each.parameters, OutputParameters)) for each in message.outputs
    ]
    own = _parameters(message.parameters, RequestParameters)
    wishes = Wishes(id=message.id, outputs=outputs, parameters=own)
    return checked_call(model, wishes, head, partial(_images, message))


def answer_message(model: Served, call: InferCall, scores: Scores) -> Message:
    """The ModelInferResponse that answers ``call``; its tensor is raw bytes, as Triton's are."""
    tensor = output_tensor(model, call, scores)
    answer = message_type("inference.ModelInferResponse")(
        model_name=model.name,
        model_version=model.version,
        id=call.id,
        raw_output_contents=[tensor.to_binary()],
    )
    answer.outputs.add(name=model.spec.output.name, datatype=tensor.datatype, shape=tensor.shape)
    return answer


def _images(message: Message, head: TensorHead, form: Form) -> Images:
    contents = message.inputs[0].contents
    filled = [field.name for field, _ in contents.ListFields()]
    raw = message.raw_input_contents
    if len(raw):
        if len(raw) != 1 or filled:
            raise BadRequestError(
                f"The input has {len(raw)} raw_input_contents and {'typed' if filled else 'no'} contents.",
                "Send one of raw_input_contents, or typed contents.",
            )
        return images_of_binary(head, form, raw[0])
    field = _FIELDS.get(head.datatype)
    if field is None or filled != [field]:
        raise BadRequestError(
            f"Input {head.name!r} is {head.datatype}, its contents are {' and '.join(filled) or 'empty'}.",
            "Send raw_input_contents" + (f", or {field}." if field else "."),
        )
    if form is Form.FILES:
        return _files(head, contents.bytes_contents)
    return array_of_numbers(head.name, head.datatype, head.shape, getattr(contents, field))


def _files(head: TensorHead, elements: Sequence[bytes]) -> tuple[bytes, ...]:
    if len(elements) != head.shape[0]:
        raise BadRequestError(
            f"Input {head.name!r} has {len(elements)} elements, and its shape has {head.shape[0]}.",
            "Send one element for each place of the shape.",
        )
    return tuple(elements)


def _parameters(entries: Mapping[str, Any], wanted: type[Parameters]) -> Parameters:
    """The values of the parameters that ``wanted`` knows; one without a value is left out."""
    chosen = ((key, value, value.WhichOneof("parameter_choice")) for key, value in entries.items())
    values = {key: getattr(value, field) for key, value, field in chosen if field is not None}
    try:
        return msgspec.convert(values, wanted)
    except msgspec.ValidationError as error:
        raise BadRequestError(f"A parameter cannot be used: {error}.", "Give it in its own type.") from error

"""Tensors in the binary extension of the Open Inference Protocol: a JSON header, then the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn.client.answers import Inference, TensorMetadata
from edgecnn.client.errors import AnswerError
from edgecnn.errors import UsageError

__all__ = ["decode_inference", "encode_tensor"]

#: The protocol's names -> numpy's, little-endian as the extension has them.
_DTYPES = {
    "BOOL": "|b1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameters:
    binary_data_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: _Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    model_name: str
    outputs: tuple[_Output, ...]
    model_version: str = ""


def encode_tensor(array: NDArray[Any], tensor: TensorMetadata) -> tuple[bytes, int]:
    """The body of an infer request with one input, and the length of its JSON header.

    Args:
        array: of any layout; numbers only.
        tensor: the input, as the model's metadata names it.

    Raises:
        UsageError: an element type that the protocol has no name for.
    """
    datatype = _NAMES.get(array.dtype.newbyteorder("<"))
    if datatype is None:
        raise UsageError(
            f"The protocol has no tensors of {array.dtype}.",
            f"Convert it to what the input {tensor.name!r} takes, {tensor.datatype}.",
        )
    data = np.ascontiguousarray(array, np.dtype(_DTYPES[datatype])).tobytes()
    header = msgspec.json.encode(
        {
            "inputs": [
                {
                    "name": tensor.name,
                    "shape": array.shape,
                    "datatype": datatype,
                    "parameters": {"binary_data_size": len(data)},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    )
    return header + data, len(header)


def decode_inference(body: bytes, header_length: str | None) -> Inference:
    """The first output of an answer.

    Args:
        body: of the answer.
        header_length: its field Inference-Header-Content-Length.

    Raises:
        AnswerError: not an answer of the binary extension, or one whose sizes contradict each other.
    """
    text = header_length or ""
    if not (text.isascii() and text.isdecimal() and int(text) <= len(body)):
        raise _malformed(f"its Inference-Header-Content-Length is {header_length!r} of {len(body)} bytes")
    end = int(text)
    try:
        header = msgspec.json.decode(body[:end], type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(str(error)) from error
    if not header.outputs:
        raise _malformed("it has no output")
    output = header.outputs[0]
    return Inference(
        model=header.model_name,
        version=header.model_version,
        output=output.name,
        scores=_array(body, end, output),
    )


def _array(body: bytes, start: int, output: _Output) -> NDArray[Any]:
    if output.datatype not in _DTYPES:
        raise _malformed(f"output {output.name!r} is of {output.datatype}, which holds no numbers")
    dtype, size = np.dtype(_DTYPES[output.datatype]), output.parameters.binary_data_size
    if min(output.shape, default=0) < 0 or prod(output.shape) * dtype.itemsize != size:
        raise _malformed(f"output {output.name!r} has {size} bytes for {output.shape} of {output.datatype}")
    if start + size > len(body):
        raise _malformed(f"output {output.name!r} is cut off: {len(body) - start} of {size} bytes")
    # Copied, so that the array may be written to and does not keep the whole answer.
    return np.frombuffer(body, dtype, prod(output.shape), start).reshape(output.shape).copy()


def _malformed(what: str) -> AnswerError:
    return AnswerError(
        f"The server's answer is none of the binary extension: {what}.",
        "Does it list 'binary_tensor_data' among its extensions?",
    )

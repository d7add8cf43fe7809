"""The binary extension from the client's side."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from edgecnn.client import AnswerError, TensorMetadata
from edgecnn.client.tensors import decode_inference, encode_tensor
from edgecnn.errors import UsageError

INPUT = TensorMetadata(name="input", datatype="FP32", shape=(-1, 3))

_DTYPES = st.sampled_from(["f2", "f4", "f8", "u1", "i1", "i2", "<i4", ">i4", "i8", "?"])


def _answer(array: NDArray[Any], **changes: Any) -> tuple[bytes, str]:
    output = {
        "name": "scores",
        "datatype": "FP32",
        "shape": array.shape,
        "parameters": {"binary_data_size": array.nbytes},
    }
    header = json.dumps({"model_name": "m", "model_version": "1", "outputs": [output | changes]}).encode()
    return header + array.tobytes(), str(len(header))


@given(arrays.arrays(_DTYPES.map(np.dtype), arrays.array_shapes(max_dims=4, max_side=5)))
def test_a_tensor_arrives_as_it_was_sent(array: NDArray[Any]) -> None:
    body, header_length = encode_tensor(array.T, INPUT)
    header = json.loads(body[:header_length])
    (sent,) = header["inputs"]
    assert sent["name"] == "input"
    assert sent["shape"] == list(array.T.shape)
    assert sent["parameters"]["binary_data_size"] == len(body) - header_length
    # An answer has the same form.
    names = {"model_name": "m", "outputs": header["inputs"]}
    text = json.dumps(names).encode()
    found = decode_inference(text + body[header_length:], str(len(text)))
    np.testing.assert_array_equal(found.scores, array.T)
    assert found.scores.flags.writeable


def test_a_tensor_that_has_no_name_in_the_protocol_is_refused() -> None:
    with pytest.raises(UsageError, match="complex64"):
        encode_tensor(np.zeros(3, np.complex64), INPUT)


SCORES = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_the_answer_names_its_model() -> None:
    found = decode_inference(*_answer(SCORES))
    assert (found.model, found.version, found.output) == ("m", "1", "scores")
    np.testing.assert_array_equal(found.scores, SCORES)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [2, 4]},
        {"shape": [-2, -3]},
        {"datatype": "BYTES"},
        {"datatype": "FP64"},
        {"parameters": {"binary_data_size": 240}, "shape": [20, 3]},
        {"parameters": {}},
    ],
)
def test_an_answer_that_contradicts_itself_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(AnswerError):
        decode_inference(*_answer(SCORES, **changes))


@pytest.mark.parametrize("length", [None, "", "-1", "99999", "x", "3"])
def test_a_wrong_header_length_is_an_error(length: str | None) -> None:
    with pytest.raises(AnswerError):
        decode_inference(_answer(SCORES)[0], length)


@given(st.binary(max_size=200), st.integers(0, 250))
def test_any_bytes_are_an_answer_or_an_error(body: bytes, length: int) -> None:
    with pytest.raises(AnswerError):
        decode_inference(body, str(length))

import base64
import json
import struct
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgecnn.serving.faults import BadRequestError
from edgecnn.serving.open_inference.datatypes import DATATYPES, datatype_of
from edgecnn.serving.open_inference.tensors import (
    array_of_binary,
    array_of_json,
    array_of_numbers,
    strings_of_binary,
    strings_of_json,
    strings_to_binary,
)

NAMES = st.sampled_from(sorted(DATATYPES))


def _finite(name: str) -> st.SearchStrategy[Any]:
    dtype, shape = DATATYPES[name], arrays.array_shapes(max_dims=4, max_side=4)
    elements = arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    return arrays.arrays(dtype, shape, elements=elements)


@given(NAMES.flatmap(lambda name: st.tuples(st.just(name), _finite(name))), st.booleans())
def test_json_and_binary_hold_the_same_of_every_datatype(case: tuple[str, Any], nested: bool) -> None:
    name, tensor = case
    text = json.dumps(tensor.tolist() if nested else tensor.ravel().tolist()).encode()
    of_json = array_of_json("x", name, tensor.shape, text)
    of_binary = array_of_binary("x", name, tensor.shape, tensor.tobytes())
    np.testing.assert_array_equal(of_json, tensor)
    np.testing.assert_array_equal(of_binary, tensor)
    assert of_json.dtype == of_binary.dtype == tensor.dtype
    assert datatype_of(tensor.dtype.name) == name


def test_binary_is_a_view_of_the_body_wherever_it_begins() -> None:
    body = bytearray(b"{}+" + np.arange(6, dtype="<f4").tobytes())
    tensor = array_of_binary("x", "FP32", [2, 3], memoryview(body)[3:])
    body[3:7] = struct.pack("<f", 7.0)
    assert tensor[0, 0] == 7.0


def test_binary_may_hold_what_json_cannot_say() -> None:
    data = np.array([np.nan, np.inf, -np.inf], "<f4").tobytes()
    assert np.isnan(array_of_binary("x", "FP32", [3], data)[0])


@pytest.mark.parametrize("size", [0, 11, 13])
def test_binary_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(BadRequestError, match=rf"'x' brings {size} bytes, and FP32 \[3\] is 12 bytes"):
        array_of_binary("x", "FP32", [3], bytes(size))


@pytest.mark.parametrize(
    ("datatype", "shape", "text", "fault"),
    [
        ("FP32", [3], b"[1, 2]", "has 2 elements in its data"),
        ("FP32", [2, 2], b"[[1, 2], [3, 4], [5, 6]]", "has 6 elements in its data"),
        ("FP32", [2, 3], b"[[1, 2], [3, 4], [5, 6]]", r"nested as \[3, 2\]"),
        ("FP32", [4], b"[[1, 2], [3, 4]]", "not FP32"),
        ("FP32", [2, 2], b"[[1, 2, 3], [4]]", "not FP32"),
        ("FP32", [2], b"[1, NaN]", "not FP32"),
        ("FP32", [2], b"[1, Infinity]", "not FP32"),
        ("FP32", [2], b"[1, 1e400]", "not FP32"),
        ("FP32", [2], b"[1, 1e39]", "a number is too large"),
        ("FP16", [1], b"[70000]", "a number is too large"),
        ("FP32", [2], b'[1, "2"]', "not FP32"),
        ("FP32", [2], b"[1, null]", "not FP32"),
        ("FP32", [2], b"[1, true]", "not FP32"),
        ("FP32", [2], b"[1, [2]]", "not FP32"),
        ("FP32", [1], b"[]", "nested as"),
        ("FP32", [1], b"{}", "not FP32"),
        ("FP32", [1], b"1", "not FP32"),
        ("UINT8", [2], b"[1, 256]", "not UINT8"),
        ("UINT8", [2], b"[1, -1]", "not UINT8"),
        ("UINT8", [2], b"[1, 1.5]", "not UINT8"),
        ("UINT64", [1], b"[18446744073709551616]", "not UINT64"),
        ("BOOL", [1], b"[1]", "not BOOL"),
    ],
)
def test_json_that_is_no_such_tensor_is_refused(
    datatype: str, shape: list[int], text: bytes, fault: str
) -> None:
    with pytest.raises(BadRequestError, match=fault):
        array_of_json("x", datatype, shape, text)


@given(st.binary(max_size=40), NAMES)
def test_any_text_is_a_tensor_or_a_refusal(text: bytes, datatype: str) -> None:
    try:
        raw = bytes(msgspec.json.decode(b"[" + text + b"]", type=msgspec.Raw))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raw = text
    with suppress(BadRequestError):
        assert array_of_json("x", datatype, [2], raw).shape == (2,)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_strings_come_back_as_they_went(strings: list[bytes]) -> None:
    packed = strings_to_binary(strings)
    assert [bytes(view) for view in strings_of_binary("x", len(strings), packed)] == strings
    coded = json.dumps([base64.b64encode(string).decode() for string in strings]).encode()
    assert list(strings_of_json("x", len(strings), coded)) == strings
    column = json.dumps([[base64.b64encode(string).decode()] for string in strings]).encode()
    assert list(strings_of_json("x", len(strings), column)) == strings


@given(st.binary(max_size=40), st.integers(1, 4))
def test_any_bytes_are_strings_or_a_refusal(data: bytes, count: int) -> None:
    with suppress(BadRequestError):
        strings = strings_of_binary("x", count, data)
        assert len(strings) == count
        assert sum(map(len, strings)) + 4 * count == len(data)


@pytest.mark.parametrize(
    ("count", "data", "fault"),
    [
        (1, b"\x01", "ends before the length of element 0"),
        (2, b"\x01\0\0\0a", "ends before the length of element 1"),
        (1, b"\xff\xff\xff\xffab", "gives element 0 4294967295 bytes; 2 follow"),
        (1, b"\x01\0\0\0ab", "1 bytes left over"),
    ],
)
def test_a_wrong_length_prefix_is_named(count: int, data: bytes, fault: str) -> None:
    with pytest.raises(BadRequestError, match=fault):
        strings_of_binary("x", count, data)


@pytest.mark.parametrize("text", [b'["\\u00e9"]', b'["a"]', b"[1]", b'"YQ=="', b"[[[]]]"])
def test_strings_in_json_are_base64(text: bytes) -> None:
    with pytest.raises(BadRequestError, match="no list of strings in base64"):
        strings_of_json("x", 1, text)
    with pytest.raises(BadRequestError, match="2 elements"):
        strings_of_json("x", 1, b'["YQ==", "YQ=="]')


@given(NAMES.flatmap(lambda name: st.tuples(st.just(name), _finite(name))))
def test_typed_fields_hold_the_same(case: tuple[str, Any]) -> None:
    name, tensor = case
    got = array_of_numbers("x", name, tensor.shape, tensor.ravel().tolist())
    np.testing.assert_array_equal(got, tensor)


def test_typed_fields_of_another_count_or_range_are_refused() -> None:
    with pytest.raises(BadRequestError, match="has 3 elements in its contents"):
        array_of_numbers("x", "FP32", [2], [1, 2, 3])
    with pytest.raises(BadRequestError, match="not UINT8"):
        array_of_numbers("x", "UINT8", [2], [1, 256])

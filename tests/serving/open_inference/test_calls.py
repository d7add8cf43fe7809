import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.serving.faults import BadRequestError, RequestError, TooLargeError
from edgecnn.serving.open_inference.calls import WantedOutput, decode_call

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))


@pytest.fixture(scope="module")
def model(model_of: Any) -> Any:
    """Takes (N, 3, 2, 2) float32, and answers ten classes."""
    return model_of(side=2)


def _request(
    shape: list[int], datatype: str, binary: bytes | None = None, **fields: Any
) -> tuple[bytes, str | None]:
    """A body and its header; ``data`` among the fields belongs to the input."""
    tensor: dict[str, Any] = {"name": "image", "shape": shape, "datatype": datatype}
    if "data" in fields:
        tensor["data"] = fields.pop("data")
    if binary is not None:
        tensor["parameters"] = {"binary_data_size": len(binary)}
    head = json.dumps({"inputs": [tensor], **fields}).encode()
    return head + (binary or b""), None if binary is None else str(len(head))


def _decoded(model: Any, request: tuple[bytes, str | None]) -> Any:
    return decode_call(model, *request)


@pytest.mark.parametrize("images", [1, 2, 4])
def test_a_tensor_in_the_models_own_form(model: Any, images: int) -> None:
    tensor = np.arange(images * 12, dtype=np.float32).reshape(images, 3, 2, 2)
    binary = _decoded(model, _request([images, 3, 2, 2], "FP32", tensor.tobytes()))
    flat = _decoded(model, _request([images, 3, 2, 2], "FP32", data=tensor.ravel().tolist()))
    nested = _decoded(model, _request([images, 3, 2, 2], "FP32", data=tensor.tolist()))
    for call in (binary, flat, nested):
        assert isinstance(call.images, np.ndarray)
        np.testing.assert_array_equal(call.images, tensor)
        assert call.images.dtype == np.float32


def test_pixels_where_the_model_takes_floats(model: Any) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    for request in (
        _request([2, 2, 2, 3], "UINT8", pixels.tobytes()),
        _request([2, 2, 2, 3], "UINT8", data=pixels.ravel().tolist()),
    ):
        call = _decoded(model, request)
        assert isinstance(call.images, np.ndarray)
        assert call.images.dtype == np.uint8
        np.testing.assert_array_equal(call.images, pixels)


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_files(model: Any, shape: list[int]) -> None:
    packed = b"\x02\0\0\0ab\x01\0\0\0c"
    for request in (_request(shape, "BYTES", packed), _request(shape, "BYTES", data=["YWI=", "Yw=="])):
        call = _decoded(model, request)
        assert isinstance(call.images, tuple)
        assert [bytes(file) for file in call.images] == [b"ab", b"c"]


def test_a_model_of_pixels_or_of_half_floats_has_its_own_form(model_of: Any) -> None:
    pixels = model_of(side=2, dtype="uint8", in_graph=True)
    call = _decoded(pixels, _request([1, 2, 2, 3], "UINT8", bytes(12)))
    assert call.images[0].shape == (2, 2, 3)
    with pytest.raises(RequestError, match="It takes UINT8"):
        _decoded(pixels, _request([1, 3, 2, 2], "FP32", bytes(48)))
    half = model_of(side=2, dtype="float16")
    assert _decoded(half, _request([1, 3, 2, 2], "FP16", bytes(24))).images[0].dtype == np.float16
    assert _decoded(half, _request([1, 2, 2, 3], "UINT8", bytes(12))).images[0].dtype == np.uint8


def test_a_model_of_a_fixed_batch_takes_any_number_of_images(model_of: Any) -> None:
    fixed = model_of(side=2, batch=2)
    assert len(_decoded(fixed, _request([3, 3, 2, 2], "FP32", bytes(144))).images) == 3


def test_nothing_is_copied_out_of_a_binary_body(model: Any) -> None:
    body, header = _request([1, 3, 2, 2], "FP32", bytes(48))
    memory = bytearray(body)
    call: Any = decode_call(model, memory, header)
    memory[-4:] = np.float32(3).tobytes()
    assert call.images[0][2, 1, 1] == 3


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, WantedOutput(binary=False)),
        ({"outputs": []}, WantedOutput(binary=False)),
        ({"outputs": [{"name": "logits"}]}, WantedOutput(binary=False)),
        ({"parameters": {"binary_data_output": True}}, WantedOutput(binary=True)),
        (
            {"outputs": [{"name": "logits"}], "parameters": {"binary_data_output": True}},
            WantedOutput(binary=True),
        ),
        (
            {
                "outputs": [{"name": "logits", "parameters": {"binary_data": False, "classification": 3}}],
                "parameters": {"binary_data_output": True},
            },
            WantedOutput(binary=False, classification=3),
        ),
    ],
)
def test_how_the_output_is_wanted(model: Any, fields: dict[str, Any], wanted: WantedOutput) -> None:
    assert _decoded(model, _request([1, 3, 2, 2], "FP32", bytes(48), **fields)).output == wanted


def test_what_else_a_request_says(model: Any) -> None:
    parameters = {"timeout": 1500, "priority": 1, "sequence_id": 7, "anything": {"a": [1]}}
    call = _decoded(
        model, _request([1, 3, 2, 2], "FP32", bytes(48), id="mine", parameters=parameters, unknown=[1])
    )
    assert (call.id, call.timeout_us) == ("mine", 1500)
    unsaid = _decoded(model, _request([1, 3, 2, 2], "FP32", bytes(48), parameters={"timeout": 0}))
    assert (unsaid.id, unsaid.timeout_us) == ("", None)


def _piece(piece: dict[str, Any]) -> bytes:
    data = piece["text"].encode() if "text" in piece else bytes.fromhex(piece["hex"])
    return bytes(data * piece.get("times", 1))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus_of_bad_requests(model: Any, path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    with pytest.raises(RequestError) as caught:
        decode_call(model, b"".join(map(_piece, case["body"])), case["header_length"])
    assert caught.value.status == case["status"]
    assert case["says"] in caught.value.sentence
    assert len(caught.value.sentence) < 600
    assert caught.value.remedy


VALID = (
    _request([1, 3, 2, 2], "FP32", bytes(48), id="a", outputs=[{"name": "logits"}]),
    _request([2, 2, 2, 3], "UINT8", bytes(24), parameters={"timeout": 5}),
    _request([1, 3, 2, 2], "FP32", data=[0.5] * 12),
    _request([2, 1], "BYTES", b"\x02\0\0\0ab\x01\0\0\0c"),
    _request([1], "BYTES", data=["YQ=="]),
)


@given(st.data())
def test_a_mutated_request_gives_a_value_or_a_refusal(model: Any, data: st.DataObject) -> None:
    original, header = data.draw(st.sampled_from(VALID))
    body = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        end = min(len(body), start + data.draw(st.integers(0, 8)))
        body[start:end] = data.draw(st.binary(max_size=8) | st.sampled_from([b"-", b"9", b"[", b'"', b"}"]))
    if data.draw(st.booleans()):
        header = data.draw(st.none() | st.integers(0, len(body)).map(str) | st.text(max_size=4))
    with suppress(BadRequestError, TooLargeError):
        call = decode_call(model, bytes(body), header)
        assert 1 <= len(call.images) <= model.max_images


WORDS = st.sampled_from(
    ["image", "logits", "FP32", "UINT8", "BYTES", "binary_data_size", "classification", "timeout", "id"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"inputs": st.lists(st.fixed_dictionaries({}, optional={
            "name": st.just("image") | JSON,
            "shape": st.sampled_from([[1, 3, 2, 2], [1, 2, 2, 3], [1]]) | JSON,
            "datatype": st.sampled_from(["FP32", "UINT8", "BYTES"]) | JSON,
            "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.just(12) | JSON}),
            "data": st.lists(st.integers(0, 255), min_size=12, max_size=12) | JSON,
        }), max_size=2)},
        optional={
            "outputs": st.lists(st.fixed_dictionaries({"name": st.just("logits") | JSON}, optional={
                "parameters": st.dictionaries(WORDS, JSON, max_size=2)}), max_size=2) | JSON,
            "parameters": st.dictionaries(WORDS, JSON, max_size=3) | JSON,
            "id": JSON,
        },
    ),
    st.binary(max_size=12) | st.just(bytes(12)),
)  # fmt: skip
def test_requests_of_any_values_give_a_value_or_a_refusal(
    model: Any, document: dict[str, Any], tail: bytes
) -> None:
    head = json.dumps(document).encode()
    with suppress(BadRequestError, TooLargeError):
        call = decode_call(model, head + tail, str(len(head)))
        assert 1 <= len(call.images) <= model.max_images

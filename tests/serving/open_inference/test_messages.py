import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.serving.faults import BadRequestError, TooLargeError
from edgecnn.serving.open_inference import messages
from edgecnn.serving.open_inference.calls import InferCall, WantedOutput
from edgecnn.serving.open_inference.message_calls import answer_message, call_of_message
from edgecnn.serving.open_inference.messages import (
    DESCRIPTORS,
    SERVICE,
    message_type,
    methods,
    parse_message,
    require_few_fields,
)

FOLDER = Path(messages.__file__).parent
REQUEST = message_type("inference.ModelInferRequest")


@pytest.fixture(scope="module")
def model(model_of: Any) -> Any:
    """Takes (N, 3, 2, 2) float32, and answers three classes."""
    return model_of(side=2, classes=3)


def test_the_descriptors_are_those_of_the_proto_files(tmp_path: Path) -> None:
    protos = sorted(path.name for path in FOLDER.glob("*.proto"))
    out = tmp_path / DESCRIPTORS
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(FOLDER), f"--descriptor_set_out={out}"]
    subprocess.run([*command, *protos], check=True, timeout=60)
    kept = FileDescriptorSet.FromString((FOLDER / DESCRIPTORS).read_bytes())
    made = FileDescriptorSet.FromString(out.read_bytes())
    assert {file.name: file for file in kept.file} == {file.name: file for file in made.file}, (
        "run the command that edgecnn/serving/open_inference/messages.py names"
    )


def test_fields_have_the_numbers_and_types_that_tritons_client_has() -> None:
    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    service_pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
    theirs = {
        **service_pb2.DESCRIPTOR.message_types_by_name,
        **model_config_pb2.DESCRIPTOR.message_types_by_name,
    }
    kept = FileDescriptorSet.FromString((FOLDER / DESCRIPTORS).read_bytes())
    (own,) = (file for file in kept.file if file.package == "inference")
    for message in own.message_type:
        _compare(message_type(f"inference.{message.name}").DESCRIPTOR, theirs[message.name])
    triton = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    for name, method in methods(SERVICE).items():
        other = triton.methods_by_name[name]
        assert (method.input_type.name, method.output_type.name) == (
            other.input_type.name,
            other.output_type.name,
        )
        assert (method.client_streaming, method.server_streaming) == (
            other.client_streaming,
            other.server_streaming,
        )


def _compare(own: Any, other: Any) -> None:
    for field in own.fields:
        same = other.fields_by_name[field.name]
        assert (field.number, field.type, field.is_repeated) == (same.number, same.type, same.is_repeated)
        if field.enum_type is not None:
            numbers = {value.name: value.number for value in same.enum_type.values}
            assert {value.name: value.number for value in field.enum_type.values} == numbers
    for nested in own.nested_types:
        _compare(nested, other.nested_types_by_name[nested.name])


def _request(shape: list[int], datatype: str, raw: bytes | None = None, **contents: Any) -> Any:
    request = REQUEST(model_name="tiny", id="mine")
    request.inputs.add(name="image", datatype=datatype, shape=shape, contents=contents or None)
    if raw is not None:
        request.raw_input_contents.append(raw)
    return request


def test_raw_and_typed_contents_are_the_same_call(model: Any) -> None:
    tensor = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    for request in (
        _request([1, 3, 2, 2], "FP32", tensor.tobytes()),
        _request([1, 3, 2, 2], "FP32", fp32_contents=tensor.ravel().tolist()),
    ):
        call = call_of_message(model, request)
        np.testing.assert_array_equal(call.images, tensor)
        assert (call.id, call.timeout_us, call.output) == ("mine", None, WantedOutput())
    pixels: Any = call_of_message(model, _request([1, 2, 2, 3], "UINT8", uint_contents=range(12)))
    np.testing.assert_array_equal(np.ravel(pixels.images), np.arange(12, dtype=np.uint8))


def test_files_come_raw_or_typed(model: Any) -> None:
    for request in (
        _request([1, 1], "BYTES", b"\x02\0\0\0ab"),
        _request([1], "BYTES", bytes_contents=[b"ab"]),
    ):
        assert [bytes(file) for file in call_of_message(model, request).images] == [b"ab"]


def test_parameters(model: Any) -> None:
    request = _request([1, 3, 2, 2], "FP32", bytes(48))
    request.parameters["timeout"].int64_param = 70
    request.parameters["nothing"].SetInParent()
    request.outputs.add(name="logits").parameters["classification"].int64_param = 2
    call = call_of_message(model, request)
    assert (call.timeout_us, call.output.classification) == (70, 2)


def _many_raw() -> Any:
    request = _request([1, 3, 2, 2], "FP32", bytes(48))
    request.raw_input_contents.append(b"")
    return request


def test_a_parameter_of_another_type_is_refused(model: Any) -> None:
    request = _request([1, 3, 2, 2], "FP32", bytes(48))
    request.parameters["timeout"].string_param = "70"
    with pytest.raises(BadRequestError, match="Expected `int`"):
        call_of_message(model, request)


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (REQUEST(model_name="tiny"), "'image' is missing"),
        (_request([1, 3, 2, 2], "FP32", bytes(47)), "brings 47 bytes"),
        (_request([1, 3, 2, 2], "FP32"), "its contents are empty"),
        (_request([1, 3, 2, 2], "FP32", fp64_contents=[0.0]), "its contents are fp64_contents"),
        (_request([1, 3, 2, 2], "FP32", fp32_contents=[0.0]), "has 1 elements in its contents"),
        (
            _request([1, 3, 2, 2], "FP32", bytes(48), fp32_contents=[0.0]),
            "1 raw_input_contents and typed contents",
        ),
        (_request([1] * 1_000_000, "FP32", bytes(48)), "a shape of 1000000 dimensions"),
        (_many_raw(), "2 raw_input_contents and no contents"),
        (_request([1, 2, 2, 3], "UINT8", uint_contents=[256] * 12), "not UINT8"),
        (_request([2], "BYTES", bytes_contents=[b"a"]), "has 1 elements"),
        (_request([-1, 3, 2, 2], "FP32", bytes(48)), "-1 images"),
        (_request([1, 3, 2, 2], "FP64", bytes(96)), "datatype 'FP64'"),
    ],
)
def test_what_does_not_fit_is_named(model: Any, request_: Any, fault: str) -> None:
    with pytest.raises(BadRequestError, match=fault):
        call_of_message(model, request_)


def test_a_half_float_has_no_typed_contents(model_of: Any) -> None:
    with pytest.raises(BadRequestError, match=r"Send raw_input_contents\.$"):
        call_of_message(
            model_of(dtype="float16", side=2), _request([1, 3, 2, 2], "FP16", fp32_contents=[0.0] * 12)
        )


def test_an_answer_has_raw_contents(model: Any) -> None:
    scores = np.array([[1, 3, 2]], np.float32)
    answer = answer_message(model, InferCall("mine", scores, WantedOutput(), None), scores)
    assert (answer.model_name, answer.model_version, answer.id) == ("tiny", "1", "mine")
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == ("FP32", [1, 3])
    assert answer.raw_output_contents[0] == scores.tobytes()
    classes = answer_message(model, InferCall("", scores, WantedOutput(classification=1), None), scores)
    assert classes.raw_output_contents[0].endswith(b"3.000000:1:class 1")


def _shown(count: int) -> bytes:
    message = REQUEST(inputs=[{}] * count, id="x", raw_input_contents=[bytes(300)])
    return bytes(message.SerializeToString())


def test_a_message_of_far_too_many_parts_is_not_parsed() -> None:
    assert len(parse_message(REQUEST, _shown(998)).inputs) == 998
    with pytest.raises(BadRequestError, match="more than 1000 fields"):
        parse_message(REQUEST, _shown(999))
    with pytest.raises(BadRequestError, match="more than 1000 fields"):
        require_few_fields(b"\x0b\x0c" + _shown(999))  # behind a group
    fixed = b"\x09" + bytes(8) + b"\x0d" + bytes(4) + b"\x08\x80\x01"  # fields that no message of ours has
    with pytest.raises(BadRequestError, match="more than 1000 fields"):
        require_few_fields(fixed * 334)
    require_few_fields(fixed * 333)


@given(st.binary(max_size=30))
def test_any_bytes_are_a_message_or_a_refusal(data: bytes) -> None:
    with suppress(BadRequestError):
        parse_message(REQUEST, data)


@given(st.data())
def test_a_mutated_message_gives_a_value_or_a_refusal(model: Any, data: st.DataObject) -> None:
    body = bytearray(_request([1, 2, 2, 3], "UINT8", bytes(12)).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        body[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with suppress(BadRequestError, TooLargeError):
        request = parse_message(REQUEST, bytes(body))
        assert 1 <= len(call_of_message(model, request).images) <= 4

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgecnn.serving.faults import BadRequestError
from edgecnn.serving.open_inference.answers import encode_answer
from edgecnn.serving.open_inference.calls import InferCall, WantedOutput
from edgecnn.serving.open_inference.tensors import strings_of_binary

SCORES = np.array([[0.25, 4.0, -1.5], [2.0, 2.0, 8.0]], np.float32)


def _call(binary: bool = False, classification: int | None = None, call_id: str = "") -> InferCall:
    return InferCall(call_id, np.zeros((2, 3, 8, 8), np.float32), WantedOutput(binary, classification), None)


@pytest.fixture(scope="module")
def model(model_of: Any) -> Any:
    """Of three classes."""
    return model_of(classes=3)


def test_scores_as_json(model: Any) -> None:
    answer = encode_answer(model, _call(call_id="mine"), SCORES)
    assert answer.binary is None
    assert json.loads(answer.json) == {
        "model_name": "tiny",
        "model_version": "1",
        "id": "mine",
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": [2, 3], "data": [0.25, 4.0, -1.5, 2.0, 2.0, 8.0]}
        ],
    }


def test_scores_as_binary_data(model: Any) -> None:
    answer = encode_answer(model, _call(binary=True), SCORES)
    assert answer.binary == SCORES.tobytes()
    document = json.loads(answer.json)
    assert "id" not in document
    assert document["outputs"] == [
        {"name": "logits", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
    ]


@given(arrays.arrays(np.float32, (1, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_json_keeps_every_bit_of_a_score(model: Any, scores: Any) -> None:
    data = json.loads(encode_answer(model, _call(), scores).json)["outputs"][0]["data"]
    np.testing.assert_array_equal(np.array(data, np.float32).reshape(1, 3), scores)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_json_cannot_say_what_is_no_number(model: Any, number: float) -> None:
    scores = np.array([[0, number, 1]], np.float32)
    with pytest.raises(BadRequestError, match="JSON cannot say"):
        encode_answer(model, _call(), scores)
    assert encode_answer(model, _call(binary=True), scores).binary == scores.tobytes()


def test_the_best_classes_best_first_and_of_equal_ones_the_first(model: Any) -> None:
    answer = json.loads(encode_answer(model, _call(classification=2), SCORES).json)
    (output,) = answer["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 2])
    assert output["data"] == [
        "4.000000:1:class 1",
        "0.250000:0:class 0",
        "8.000000:2:class 2",
        "2.000000:0:class 0",
    ]


def test_classes_as_binary_data(model: Any) -> None:
    answer = encode_answer(model, _call(binary=True, classification=1), SCORES)
    assert answer.binary is not None
    assert answer.binary.startswith(struct.pack("<I", len("4.000000:1:class 1")))
    assert [bytes(text) for text in strings_of_binary("x", 2, answer.binary)] == [
        b"4.000000:1:class 1",
        b"8.000000:2:class 2",
    ]


def test_more_classes_than_there_are_is_all_of_them(model: Any) -> None:
    answer = json.loads(encode_answer(model, _call(classification=1000), SCORES).json)
    assert answer["outputs"][0]["shape"] == [2, 3]

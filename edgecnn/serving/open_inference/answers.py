"""The answer to an infer request: scores or classes, as JSON or as binary data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from edgecnn.engines.base import Scores
from edgecnn.serving.faults import BadRequestError
from edgecnn.serving.open_inference.calls import InferCall
from edgecnn.serving.open_inference.contract import Served
from edgecnn.serving.open_inference.datatypes import BYTES
from edgecnn.serving.open_inference.tensors import strings_to_binary
from edgecnn.validate.ranking import first_choices

__all__ = ["EncodedAnswer", "OutputTensor", "encode_answer", "output_tensor"]


@dataclass(frozen=True, slots=True)
class EncodedAnswer:
    """The body of an answer.

    Attributes:
        json: what it begins with.
        binary: what follows; None where the JSON is all of it.
    """

    json: bytes
    binary: bytes | None = None


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """The one output of an answer.

    Attributes:
        datatype: "FP32" for scores, "BYTES" for classes.
        shape: (N, classes), or (N, k) where k classes were asked for.
        values: the scores, or the texts of the classes, row by row.
    """

    datatype: str
    shape: tuple[int, ...]
    values: Scores | list[str]

    def to_binary(self) -> bytes:
        """As the binary data of the protocol."""
        if isinstance(self.values, list):
            return strings_to_binary(text.encode() for text in self.values)
        return self.values.tobytes()

    def to_list(self) -> list[Any]:
        """As the flat list of the JSON form.

        Raises:
            BadRequestError: a score is NaN or infinite, which JSON cannot say.
        """
        if isinstance(self.values, list):
            return self.values
        if not np.isfinite(self.values).all():
            raise BadRequestError(
                "The scores hold NaN or infinity, which JSON cannot say.",
                "Look for NaN or huge numbers in the input, or ask for the output as binary data.",
            )
        listed: list[Any] = self.values.ravel().tolist()
        return listed


class _Output(msgspec.Struct, omit_defaults=True):
    name: str
    datatype: str
    shape: Sequence[int]
    parameters: dict[str, int] = {}
    data: list[Any] = []


class _Answer(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: tuple[_Output]
    id: str = ""


_ENCODER = msgspec.json.Encoder()


def output_tensor(model: Served, call: InferCall, scores: Scores) -> OutputTensor:
    """What a call asked for of ``scores``, (N, classes) float32."""
    count = call.output.classification
    if count is None:
        return OutputTensor("FP32", scores.shape, scores)
    chosen = first_choices(scores, count)
    texts = [
        _class_text(float(scores[row, index]), int(index), model.spec.classes)
        for row, indices in enumerate(chosen)
        for index in indices
    ]
    return OutputTensor(BYTES, chosen.shape, texts)


def encode_answer(model: Served, call: InferCall, scores: Scores) -> EncodedAnswer:
    """The body that answers ``call``.

    Raises:
        BadRequestError: a score is NaN or infinite, and the answer was wanted as JSON.
    """
    tensor = output_tensor(model, call, scores)
    output = _Output(model.spec.output.name, tensor.datatype, tensor.shape)
    binary = None
    if call.output.binary:
        binary = tensor.to_binary()
        output.parameters = {"binary_data_size": len(binary)}
    else:
        output.data = tensor.to_list()
    return EncodedAnswer(_ENCODER.encode(_Answer(model.name, model.version, (output,), call.id)), binary)


def _class_text(score: float, index: int, labels: Sequence[str]) -> str:
    """As Triton writes it: the score with six decimals, the index, the label."""
    return f"{score:.6f}:{index}:{labels[index]}"

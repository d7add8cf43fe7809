"""What servers answer, as frozen values, read from their JSON.

Fields that a server adds are ignored; fields that are missing or of another type are an error, for a result
that is guessed is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from edgecnn.client.errors import AnswerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BatchStatistics",
    "Choice",
    "Inference",
    "InferenceStatistics",
    "ModelMetadata",
    "ModelState",
    "ModelStatistics",
    "Prediction",
    "Predictions",
    "ServerMetadata",
    "TensorMetadata",
    "Times",
    "TimingsMs",
    "read_json",
    "read_model_states",
    "read_predictions",
    "read_statistics",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One class and how probable the model holds it, 0 to 1."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model says of one image: its choices, best first, or why the image cannot be used."""

    image: str | None = None
    top: tuple[Choice, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingsMs:
    """Where the server's time went, in milliseconds."""

    decode: float
    queue: float
    compute: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The answer to images.

    Attributes:
        model: which model answered.
        version: which version of it.
        predictions: one an image, in the order of the images.
        timings_ms: where the server's time went.
    """

    model: str
    version: str
    predictions: tuple[Prediction, ...]
    timings_ms: TimingsMs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inference:
    """The answer to a tensor.

    Attributes:
        model: which model answered.
        version: which version of it.
        output: name of the output.
        scores: (N, classes), as the model puts them out.
    """

    model: str
    version: str
    output: str
    scores: NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetadata:
    """Who the server is, and what it speaks beyond the protocol."""

    name: str
    version: str
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorMetadata:
    """One input or output; -1 in its shape is any number."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """What a model takes and gives."""

    name: str
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """One version of one model in the repository.

    Attributes:
        name: of the model.
        version: empty where the server has not looked yet.
        state: "READY", "LOADING", "UNLOADING" or "UNAVAILABLE"; empty where the server does not know.
        reason: why it is not ready.
    """

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How often something was done, and the nanoseconds that all of it took."""

    count: int
    ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceStatistics:
    """Of the requests of one version, by stage."""

    success: Times
    fail: Times
    queue: Times
    compute_input: Times
    compute_infer: Times
    compute_output: Times


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """Of the calls of one batch size."""

    batch_size: int
    compute_infer: Times


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """What one version has done since it was loaded.

    Attributes:
        name: of the model.
        version: of it.
        last_inference: milliseconds since 1970; 0 where there was none.
        inference_count: images.
        execution_count: calls of the engine.
        inference_stats: of requests.
        batch_stats: of calls, by batch size.
    """

    name: str
    version: str
    last_inference: int = 0
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    batch_stats: tuple[BatchStatistics, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prediction:
    """As it is sent: of a faulty image, no labels."""

    image: str | None = None
    top: tuple[Choice, ...] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Predictions:
    model: str
    version: str
    predictions: tuple[_Prediction, ...]
    timings_ms: TimingsMs


@dataclass(frozen=True, slots=True, kw_only=True)
class _AllStatistics:
    model_stats: tuple[ModelStatistics, ...]


def read_json(body: bytes, kind: type[T]) -> T:
    """``body`` as a ``kind``.

    Raises:
        AnswerError: it is not one.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AnswerError(
            f"The server's answer is no {kind.__name__.strip('_')}: {error}.",
            "Is it an inference server, and does the URL end where its routes begin?",
        ) from error


def read_predictions(body: bytes) -> Predictions:
    """The answer to images."""
    sent = read_json(body, _Predictions)
    return Predictions(
        model=sent.model,
        version=sent.version,
        predictions=tuple(
            Prediction(image=each.image, top=each.top or (), error=each.error) for each in sent.predictions
        ),
        timings_ms=sent.timings_ms,
    )


def read_model_states(body: bytes) -> tuple[ModelState, ...]:
    """The answer to a request for the repository's index."""
    return read_json(body, tuple[ModelState, ...])


def read_statistics(body: bytes) -> tuple[ModelStatistics, ...]:
    """The answer to a request for statistics, of one model or of all."""
    return read_json(body, _AllStatistics).model_stats

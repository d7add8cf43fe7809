"""What each request consists of, and how its answer is read: no transport, so that both clients share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote

from edgecnn.client.answers import (
    Inference,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    Predictions,
    ServerMetadata,
    read_json,
    read_model_states,
    read_predictions,
    read_statistics,
)
from edgecnn.errors import ImageError, UsageError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

__all__ = [
    "Answer",
    "Call",
    "Image",
    "index_call",
    "infer_call",
    "media_type",
    "model_metadata_call",
    "predict_call",
    "ready_call",
    "server_metadata_call",
    "statistics_call",
]

T = TypeVar("T")

#: An image: a file's path, or a file's content.
Image = str | PathLike[str] | bytes

#: How files of images begin -> their media type.
_SIGNATURES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"RIFF": "image/webp",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}

#: (name of the field, (name of the file, content, media type)), as httpx takes the parts of a form.
Part = tuple[str, tuple[str, bytes, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; field names of ``headers`` are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request, and the meaning of its answer.

    Attributes:
        method: HTTP's.
        path: below the server's URL, escaped.
        read: from an answer to the result.
        query: parameters of the URL.
        headers: besides what the transport adds.
        content: the body; None for none.
        parts: of a form, instead of ``content``.
        accepted: whether ``read`` understands a status; the others are refusals.
        retry: whether a busy server is asked again.
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    parts: tuple[Part, ...] = ()
    accepted: Callable[[int], bool] = lambda status: 200 <= status < 300
    retry: bool = True


def predict_call(images: Image | Sequence[Image], model: str | None, top_k: int) -> Call[Predictions]:
    """Labels for one image, sent as the body, or for several, sent as a form.

    Raises:
        UsageError: no image, or a ``top_k`` below 1.
        ImageError: a file cannot be read.
    """
    several = [images] if isinstance(images, str | PathLike | bytes) else list(images)
    if not several:
        raise UsageError("There is no image to predict.", "Give a path, a file's bytes, or a list of them.")
    if top_k < 1:
        raise UsageError(f"top_k is {top_k}.", "Ask for at least one label.")
    path = "/v1/predict" if model is None else f"/v1/predict/{_escaped(model)}"
    query = {"top_k": str(top_k)}

    def read(answer: Answer) -> Predictions:
        return read_predictions(answer.body)

    files = [_file(image, number) for number, image in enumerate(several, start=1)]
    if len(files) == 1:
        ((_, content, kind),) = files
        headers = {"content-type": kind}
        return Call(method="POST", path=path, read=read, query=query, headers=headers, content=content)
    parts = tuple(("image", file) for file in files)
    return Call(method="POST", path=path, read=read, query=query, parts=parts)


def infer_call(
    array: NDArray[Any], metadata: ModelMetadata, model: str, version: str | None
) -> Call[Inference]:
    """Scores of a tensor, which travels as bytes both ways.

    Raises:
        UsageError: the model takes several inputs, or the protocol has no such tensor.
    """
    from edgecnn.client.tensors import decode_inference, encode_tensor

    if len(metadata.inputs) != 1:
        raise UsageError(
            f"{model} has {len(metadata.inputs)} inputs, and infer gives it one.",
            "Use tritonclient for models of several inputs.",
        )
    body, header_length = encode_tensor(array, metadata.inputs[0])
    return Call(
        method="POST",
        path=f"{_model_path(model, version)}/infer",
        read=lambda answer: decode_inference(
            answer.body, answer.headers.get("inference-header-content-length")
        ),
        headers={
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(header_length),
        },
        content=body,
    )


def ready_call(model: str | None, version: str | None) -> Call[bool]:
    """Whether the server, or a model, would answer now; "no" is an answer, and no reason to ask again."""
    path = "/v2/health/ready" if model is None else f"{_model_path(model, version)}/ready"
    return Call(
        method="GET",
        path=path,
        read=lambda answer: answer.status == 200,
        accepted=lambda status: status in {200, 400, 404, 503},
        retry=False,
    )


def index_call() -> Call[tuple[ModelState, ...]]:
    """All models of the repository."""
    return Call(
        method="POST",
        path="/v2/repository/index",
        read=lambda answer: read_model_states(answer.body),
        headers={"content-type": "application/json"},
        content=b"{}",
    )


def server_metadata_call() -> Call[ServerMetadata]:
    """Who the server is."""
    return Call(method="GET", path="/v2", read=_reads(ServerMetadata))


def model_metadata_call(model: str, version: str | None) -> Call[ModelMetadata]:
    """What a model takes and gives."""
    return Call(method="GET", path=_model_path(model, version), read=_reads(ModelMetadata))


def statistics_call(model: str | None, version: str | None) -> Call[tuple[ModelStatistics, ...]]:
    """What a model, or every model, has done."""
    path = "/v2/models/stats" if model is None else f"{_model_path(model, version)}/stats"
    return Call(method="GET", path=path, read=lambda answer: read_statistics(answer.body))


def _reads(kind: type[T]) -> Callable[[Answer], T]:
    return lambda answer: read_json(answer.body, kind)


def _model_path(model: str, version: str | None) -> str:
    path = f"/v2/models/{_escaped(model)}"
    return path if version is None else f"{path}/versions/{_escaped(version)}"


def _escaped(name: str) -> str:
    return quote(name, safe="")


def _file(image: Image, number: int) -> tuple[str, bytes, str]:
    """Name, content and media type."""
    if isinstance(image, bytes):
        return f"image-{number}", image, media_type(image)
    path = Path(image)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(str(path), f"it cannot be read: {error.strerror or error}") from error
    return path.name, content, media_type(content)


def media_type(content: bytes) -> str:
    """By how the file begins, since names lie; what is not known here the server may know."""
    for signature, kind in _SIGNATURES.items():
        if content.startswith(signature):
            return kind
    return "image/unknown"

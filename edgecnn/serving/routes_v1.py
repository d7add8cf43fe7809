"""The handlers of ``/v1``: labels for images, and what the page shows of the server. And ``/metrics``."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn.serving.faults import BadRequestError, UnsupportedMediaTypeError
from edgecnn.serving.http.message import Request, Response, json_response
from edgecnn.serving.http.multipart import parse_form
from edgecnn.serving.http.routing import Router
from edgecnn.serving.model import ServedModel
from edgecnn.serving.service import InferenceService
from edgecnn.validate.ranking import top_choices

__all__ = ["Predictions", "add_v1_routes"]

_TOP_K = 5

#: What clients send when they are told nothing (curl --data-binary), or that it is bytes.
_ANY_BYTES = frozenset(("", "application/octet-stream", "application/x-www-form-urlencoded"))

#: How far back the rate of requests looks.
_RATE_S = 5.0


#: An image file, and its name where it has one.
_Named = tuple[str | None, memoryview]


class Choice(msgspec.Struct):
    """One class, and how probable the model holds it, 0 to 1."""

    index: int
    label: str
    probability: float


class Prediction(msgspec.Struct):
    """What became of one image: its most probable classes, best first, or what is wrong with it."""

    image: str | None
    top: tuple[Choice, ...] | None = None
    error: str | None = None


class Timings(msgspec.Struct):
    """Where a request's milliseconds went."""

    decode: float
    queue: float
    compute: float
    total: float


class Predictions(msgspec.Struct):
    """The answer of ``POST /v1/predict``."""

    model: str
    version: str
    predictions: list[Prediction]
    timings_ms: Timings


class ModelLine(msgspec.Struct, omit_defaults=True):
    """One model on the page; what is not known of one that is not loaded is left out."""

    name: str
    version: str
    state: str
    network: str | None = None
    input: tuple[int, int] | None = None
    classes: int | None = None
    engine: str | None = None
    precision: str | None = None


class Status(msgspec.Struct):
    """The answer of ``GET /v1/status``; of several workers, the queue and what is in work are this one's."""

    models: list[ModelLine]
    requests_per_s: float
    queue: int
    in_flight: int


class _Handlers:
    def __init__(self, service: InferenceService) -> None:
        self._service = service
        self._answered: deque[tuple[float, int]] = deque(maxlen=100)

    async def predict(self, request: Request) -> Response:
        model = await self._service.model(request.parameters.get("model") or self._service.default_name())
        top_k = _top_k(request, len(model.spec.classes))
        named = _images(request, model.max_images)
        begun = time.perf_counter()
        pixels = await _pixels(model, request, [image for _, image in named])
        decoded_s = time.perf_counter() - begun
        good = [each for each in pixels if not isinstance(each, BadRequestError)]
        if not good or (len(named) == 1 and isinstance(pixels[0], BadRequestError)):
            raise next(each for each in pixels if isinstance(each, BadRequestError))
        inference = await model.infer(good)
        tops = iter(_tops(model, inference.scores, top_k))
        predictions = [
            Prediction(name, error=each.sentence)
            if isinstance(each, BadRequestError)
            else Prediction(name, next(tops))
            for (name, _), each in zip(named, pixels, strict=True)
        ]
        queue_ms, compute_ms = 1e-6 * inference.queue_ns, 1e-6 * inference.compute_ns
        served = request.served
        served.model, served.version, served.images = model.name, model.version, len(good)
        served.queue_ms, served.compute_ms = queue_ms, compute_ms
        total_ms = 1e3 * (time.monotonic() - request.received_s)
        timings = Timings(*(round(each, 3) for each in (1e3 * decoded_s, queue_ms, compute_ms, total_ms)))
        return json_response(Predictions(model.name, model.version, predictions, timings))

    async def status(self, request: Request) -> Response:
        models = self._service.models()
        return json_response(
            Status(
                models=[_line(model) for model in models],
                requests_per_s=round(self._rate(), 2),
                queue=sum(model.waiting for model in models),
                in_flight=sum(model.in_flight for model in models),
            )
        )

    async def metrics(self, request: Request) -> Response:
        self._service.sample()
        return Response(200, self._service.metrics.text(), "text/plain; version=0.0.4; charset=utf-8")

    def _rate(self) -> float:
        """Requests answered in a second, over the last few, of all workers."""
        now = time.monotonic()
        answered = sum(each.success[0] for each in self._service.statistics())
        while self._answered and now - self._answered[0][0] > _RATE_S:
            self._answered.popleft()
        self._answered.append((now, answered))
        first_s, first = self._answered[0]
        return (answered - first) / (now - first_s) if now > first_s else 0.0


def add_v1_routes(router: Router, service: InferenceService) -> None:
    """Let ``router`` answer ``/v1`` and ``/metrics``."""
    handlers = _Handlers(service)
    router.route("POST", "/v1/predict", handlers.predict)
    router.route("POST", "/v1/predict/{model}", handlers.predict)
    router.route("GET", "/v1/status", handlers.status)
    router.route("GET", "/metrics", handlers.metrics)


def _top_k(request: Request, classes: int) -> int:
    if unknown := request.query.keys() - {"top_k"}:
        raise BadRequestError(
            f"The query has {min(unknown)[:20]!r}, which means nothing here.", "It may have top_k=NUMBER."
        )
    text = request.query.get("top_k", [str(min(_TOP_K, classes))])[-1]
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= classes:
        raise BadRequestError(
            f"top_k is {text[:20]!r}.", f"Give a whole number from 1 to {classes}, the number of classes."
        )
    return int(text)


def _images(request: Request, max_images: int) -> list[_Named]:
    """The images of a request, each with its file's name."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaTypeError("/v1/predict takes no compressed bodies.", "Send the image as it is.")
    media_type = request.media_type
    if media_type == "multipart/form-data":
        parts = parse_form(request.headers["content-type"], request.body, max_images)
        files: list[_Named] = [
            (part.file_name, memoryview(part.content)) for part in parts if part.file_name is not None
        ]
        if not files:
            raise BadRequestError("The form holds no file.", "Send each image as a file of the form.")
        return files
    if not media_type.startswith("image/") and media_type not in _ANY_BYTES:
        raise UnsupportedMediaTypeError(
            f"/v1/predict does not take {media_type[:50]}.",
            "Send an image file (image/jpeg), its pixels (application/octet-stream) or multipart/form-data; "
            "tensors go to /v2/models/MODEL/infer.",
        )
    if not request.body:
        raise BadRequestError("The body is empty.", "Send an image file: curl --data-binary @cat.jpg URL")
    return [(None, memoryview(request.body))]


async def _pixels(
    model: ServedModel, request: Request, images: Sequence[memoryview]
) -> Sequence[NDArray[np.uint8] | BadRequestError]:
    preprocess = model.spec.preprocess
    shape = (*preprocess.crop, preprocess.channels)
    if request.media_type == "application/octet-stream" and len(images[0]) == math.prod(shape):
        return [np.frombuffer(images[0], np.uint8).reshape(shape)]
    return await model.try_decode(images)


def _tops(model: ServedModel, scores: NDArray[np.float32], top_k: int) -> list[tuple[Choice, ...]]:
    spec = model.spec
    return [
        tuple(
            Choice(index, spec.classes[index], round(share, 6))
            for index, share in zip(chosen.tolist(), shares.tolist(), strict=True)
        )
        for chosen, shares in top_choices(scores, spec.scores, top_k)
    ]


def _line(model: ServedModel) -> ModelLine:
    if model.state != "READY":
        return ModelLine(model.name, model.version, model.state)
    spec = model.spec
    return ModelLine(
        model.name,
        model.version,
        model.state,
        network=spec.network,
        input=spec.preprocess.crop,
        classes=len(spec.classes),
        engine=model.layout.engine,
        precision=spec.precision,
    )

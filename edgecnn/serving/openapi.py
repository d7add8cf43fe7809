"""The OpenAPI 3.1 document of the server: every route, what it takes, and all that it may answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgecnn.serving.faults import (
    BadRequestError,
    DeadlineError,
    ForbiddenError,
    NotFoundError,
    OverloadedError,
    RequestError,
    RequestTimeoutError,
    ServerFailureError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from edgecnn.serving.openapi_schemas import SCHEMAS, Schema, reference

__all__ = ["openapi_document"]

_TAGS: Final = {
    "Images": "Pictures in, labels out.",
    "Inference": "Open Inference Protocol v2: tensors in, scores or classes out.",
    "Health": "Whether the server and its models answer.",
    "Models": "What is served, how, and what it did.",
    "Repository": "Loading and unloading; needs a server that was started with model control.",
    "Observation": "Figures for people and for machines.",
    "Pages": "For people.",
}

#: Faults of every request: a head that cannot be read, a slow client, a fault of ours, a server going away.
_ALWAYS: Final = (BadRequestError, RequestTimeoutError, ServerFailureError, UnavailableError)
_WITH_BODY: Final = (TooLargeError, UnsupportedMediaTypeError)
_QUEUED: Final = (OverloadedError, DeadlineError)
_FAULTS: Final = (*_ALWAYS, *_WITH_BODY, *_QUEUED, UnauthorizedError, ForbiddenError, NotFoundError)

#: In the answer's body, or in the request's: media type -> schema; None for an empty body.
_Content = dict[str, Schema] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operation:
    """One method of one path.

    Attributes:
        method: in lower case.
        path: with ``{names}`` of its parameters.
        tag: of :data:`_TAGS`.
        summary: one line.
        description: more of it.
        query: its parameters in query and header.
        body: what it takes; None for nothing.
        body_required: whether it must be there.
        answer: what it gives with status 200.
        faults: what it may answer besides the faults of every request.
        public: needs no API key.
    """

    method: str
    path: str
    tag: str
    summary: str
    description: str = ""
    query: tuple[Schema, ...] = ()
    body: _Content = None
    body_required: bool = True
    answer: _Content = None
    faults: tuple[type[RequestError], ...] = ()
    public: bool = False

    @property
    def id(self) -> str:
        """Unique: of method and path."""
        words = self.path.replace("{", "").replace("}", "").replace(".", "_").strip("/").split("/")
        return "_".join([self.method, *(words if words != [""] else ["page"])])


def openapi_document(version: str, models: Sequence[str]) -> dict[str, Any]:
    """The document.

    Args:
        version: of edgecnn.
        models: names of what is served, for the examples.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in _operations():
        paths.setdefault(operation.path, {})[operation.method] = _document(operation, models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgecnn",
            "version": version,
            "summary": "A batching inference server for image classifiers.",
            "description": 'Refusals are JSON, {"error": "what is wrong. what to do next."}.',
        },
        "servers": [{"url": "./"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": {fault.__name__.removesuffix("Error"): _response(fault) for fault in _FAULTS},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Where API keys are configured.",
                },
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _document(operation: _Operation, models: Sequence[str]) -> dict[str, Any]:
    refused = () if operation.public else (UnauthorizedError,)
    faults = (*_ALWAYS, *refused, *operation.faults, *(_WITH_BODY if operation.body else ()))
    answers: dict[str, Any] = {"200": {"description": "Done.", **_content(operation.answer)}}
    for fault in sorted(faults, key=lambda each: each.status):
        answers[str(fault.status)] = {
            "$ref": f"#/components/responses/{fault.__name__.removesuffix('Error')}"
        }
    document: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [*_path_parameters(operation.path, models), *operation.query],
        "responses": answers,
        "security": [] if operation.public else [{}, {"bearer": []}, {"key": []}],
    }
    if operation.body:
        document["requestBody"] = {"required": operation.body_required, **_content(operation.body)}
    return {name: value for name, value in document.items() if value != "" and (value or name == "security")}


def _content(content: _Content) -> dict[str, Any]:
    if content is None:
        return {}
    return {"content": {kind: {"schema": schema} for kind, schema in content.items()}}


def _response(fault: type[RequestError]) -> dict[str, Any]:
    lines = (fault.__doc__ or "").strip().splitlines()
    response = {"description": lines[0], **_content({"application/json": reference("Error")})}
    if fault is OverloadedError:
        seconds = {"type": "integer", "minimum": 1}
        response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": seconds}}
    if fault is UnauthorizedError:
        response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}}}
    return response


def _path_parameters(path: str, models: Sequence[str]) -> Iterator[dict[str, Any]]:
    examples = {"model": list(models), "version": ["1"], "file": ["app.js"]}
    for segment in path.split("/"):
        if segment.startswith("{"):
            name = segment.strip("{}")
            schema: Schema = {"type": "string", "minLength": 1}
            if examples[name]:
                schema["examples"] = examples[name]
            yield {"name": name, "in": "path", "required": True, "schema": schema}


def _json(name: str) -> _Content:
    return {"application/json": reference(name)}


_TEXT: Final[Schema] = {"type": "string"}
_BYTES: Final[Schema] = {}  # of a body that is no JSON, OpenAPI 3.1 says nothing but its media type

_TOP_K: Final = {
    "name": "top_k",
    "in": "query",
    "description": "Labels for each image, at most the number of classes; 5, or all of fewer, by default.",
    "schema": {"type": "integer", "minimum": 1},
}
_HEADER_LENGTH: Final = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "Bytes of JSON at the start of the body, where binary data follow.",
    "schema": {"type": "integer", "minimum": 1},
}
_IMAGE_BODY: Final[dict[str, Schema]] = {
    "image/*": _BYTES,
    "application/octet-stream": _BYTES,
    "multipart/form-data": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"type": "string", "contentMediaType": "image/*"},
    },
}
_IMAGE_TEXT: Final = (
    "The body is an image file; or, as application/octet-stream, the pixels of one, the model's "
    "height x width x 3, uint8; or several image files as multipart/form-data, in parts of any name. Of "
    "several, one that cannot be used has its own error and the others their answers; a single one gets 400."
)
_INFER_BODY: Final[dict[str, Schema]] = {
    "application/json": reference("InferRequest"),
    "application/octet-stream": _BYTES,
}
_INFER_TEXT: Final = (
    "JSON, or JSON followed by binary data (the binary tensor extension), as the header "
    "Inference-Header-Content-Length says. The input is the model's own tensor, uint8 pixels (N, H, W, C), "
    "or BYTES of encoded image files. The body may be compressed with gzip or deflate (Content-Encoding)."
)


def _operations() -> Iterator[_Operation]:
    yield from _image_operations()
    yield from _inference_operations()
    yield from _model_operations()
    yield from _repository_operations()
    yield from _page_operations()


def _image_operations() -> Iterator[_Operation]:
    for path, summary in (
        ("/v1/predict", "Labels for images, by the only model."),
        ("/v1/predict/{model}", "Labels for images."),
    ):
        yield _Operation(
            method="post",
            path=path,
            tag="Images",
            summary=summary,
            description=_IMAGE_TEXT,
            query=(_TOP_K,),
            body=_IMAGE_BODY,
            answer=_json("Predictions"),
            faults=(NotFoundError, *_QUEUED),
        )


def _model_paths(end: str) -> tuple[str, str]:
    return f"/v2/models/{{model}}{end}", f"/v2/models/{{model}}/versions/{{version}}{end}"


def _inference_operations() -> Iterator[_Operation]:
    for path in _model_paths("/infer"):
        yield _Operation(
            method="post",
            path=path,
            tag="Inference",
            summary="Scores or classes of images.",
            description=_INFER_TEXT,
            query=(_HEADER_LENGTH,),
            body=_INFER_BODY,
            answer={"application/json": reference("InferResponse"), "application/octet-stream": _BYTES},
            faults=(NotFoundError, *_QUEUED),
        )


def _model_operations() -> Iterator[_Operation]:
    yield _health("/v2/health/live", "Whether the server runs.", "Live")
    yield _health("/v2/health/ready", "Whether its models are warm and it takes requests.", "Ready")
    for path in _model_paths("/ready"):
        yield _health(path, "Whether the model answers.", "ModelReady", NotFoundError)
    yield _get("/v2", "Who answers, and which extensions it has.", "ServerMetadata")
    yield _get("/v2/models/stats", "What happened to all models' requests.", "Statistics")
    for end, summary, schema in (
        ("", "What the model takes and gives.", "ModelMetadata"),
        ("/config", "How the model is run, in Triton's shape.", "ModelConfig"),
        ("/stats", "What happened to its requests, in Triton's shape.", "Statistics"),
    ):
        for path in _model_paths(end):
            yield _get(path, summary, schema, NotFoundError)


def _health(path: str, summary: str, schema: str, *faults: type[RequestError]) -> _Operation:
    return _Operation(
        method="get",
        path=path,
        tag="Health",
        summary=summary,
        description="Not yet, or no more: 503.",
        answer=_json(schema),
        faults=faults,
        public=True,
    )


def _get(path: str, summary: str, schema: str, *faults: type[RequestError]) -> _Operation:
    return _Operation(
        method="get", path=path, tag="Models", summary=summary, answer=_json(schema), faults=faults
    )


def _repository_operations() -> Iterator[_Operation]:
    yield _Operation(
        method="post",
        path="/v2/repository/index",
        tag="Repository",
        summary="All models and versions.",
        body=_json("RepositoryIndexRequest"),
        body_required=False,
        answer=_json("RepositoryIndex"),
    )
    for verb, summary, body in (
        ("load", "Load or reload a model.", "LoadRequest"),
        ("unload", "Unload a model.", "UnloadRequest"),
    ):
        yield _Operation(
            method="post",
            path=f"/v2/repository/models/{{model}}/{verb}",
            tag="Repository",
            summary=summary,
            description="Requests in flight are answered by the model that they came to.",
            body=_json(body),
            body_required=False,
            answer=_json("Nothing"),
            faults=(ForbiddenError, NotFoundError),
        )


def _page_operations() -> Iterator[_Operation]:
    yield _Operation(
        method="get",
        path="/v1/status",
        tag="Observation",
        summary="What the page shows: models, throughput, queue.",
        answer=_json("Status"),
    )
    yield _Operation(
        method="get",
        path="/metrics",
        tag="Observation",
        summary="Figures for Prometheus.",
        answer={"text/plain": _TEXT},
    )
    for path, summary, answer in (
        ("/", "The page.", {"text/html": _TEXT}),
        ("/docs", "This documentation.", {"text/html": _TEXT}),
        ("/openapi.json", "This document.", {"application/json": {"type": "object"}}),
        ("/favicon.ico", "The page's icon.", {"image/svg+xml": _TEXT}),
        (
            "/ui/{file}",
            "A file of the page.",
            {"text/css": _TEXT, "text/javascript": _TEXT, "image/svg+xml": _TEXT},
        ),
    ):
        faults = (NotFoundError,) if "{" in path else ()
        yield _Operation(
            method="get", path=path, tag="Pages", summary=summary, answer=answer, faults=faults, public=True
        )

"""The shapes of what the server takes and gives, as JSON Schema 2020-12, which OpenAPI 3.1 uses."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edgecnn.serving.open_inference.datatypes import BYTES, DATATYPES
from edgecnn.serving.routes_v1 import Predictions, Status

__all__ = ["SCHEMAS", "Schema", "reference"]

Schema = dict[str, Any]


def reference(name: str) -> Schema:
    """A pointer to the schema ``name``."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Schema, optional: Schema | None = None, *, open_: bool = False) -> Schema:
    """An object; what is ``required`` is always there, and ``open_`` ones may hold more."""
    schema: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    if not open_:
        schema["additionalProperties"] = False
    return schema


def _text(description: str = "", **more: object) -> Schema:
    return {"type": "string", **({"description": description} if description else {}), **more}


def _array(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def _count(description: str = "") -> Schema:
    return {"type": "integer", "minimum": 0, **({"description": description} if description else {})}


def _parameters(**known: Schema) -> Schema:
    return {**_object({}, known, open_=True), "description": "Others than these are ignored."}


_STATES: Final = ["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]
_SHAPE: Final = _array({"type": "integer"}, description="The number of images first.", maxItems=8)
_DATA: Final = {"type": "array", "description": "Elements in row order, flat or nested.", "items": {}}
_DATATYPE: Final = _text("The protocol's name of the element type.", enum=[*DATATYPES, BYTES])
_TIMED: Final = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")

_ERROR: Final = _object({"error": _text("What is wrong, and what to do next.")})

#: What the page gets, from the types that are sent.
_PAGE: Final[dict[str, Schema]] = msgspec.json.schema_components(
    (Predictions, Status), ref_template="#/components/schemas/{name}"
)[1]

_INFERENCE: Final[dict[str, Schema]] = {
    "InferRequest": _object(
        {"inputs": _array(reference("RequestInput"), minItems=1, maxItems=1)},
        {
            "id": _text("Comes back with the answer."),
            "outputs": _array(reference("RequestOutput"), maxItems=1),
            "parameters": _parameters(
                timeout=_count("Microseconds that the client waits; 0 for the server's own timeout."),
                binary_data_output={"type": "boolean", "description": "Outputs as binary data."},
            ),
        },
        open_=True,
    ),
    "RequestInput": _object(
        {"name": _text(), "shape": _SHAPE, "datatype": _DATATYPE},
        {
            "data": _DATA,
            "parameters": _parameters(binary_data_size=_count("Bytes behind the JSON, instead of data.")),
        },
        open_=True,
    ),
    "RequestOutput": _object(
        {"name": _text()},
        {
            "parameters": _parameters(
                classification={"type": "integer", "minimum": 1, "description": "So many best classes."},
                binary_data={"type": "boolean"},
            )
        },
        open_=True,
    ),
    "InferResponse": _object(
        {"model_name": _text(), "model_version": _text(), "outputs": _array(reference("ResponseOutput"))},
        {"id": _text()},
    ),
    "ResponseOutput": _object(
        {"name": _text(), "shape": _SHAPE, "datatype": _DATATYPE},
        {"data": _DATA, "parameters": _object({}, {"binary_data_size": _count()}, open_=True)},
    ),
}

_MODELS: Final[dict[str, Schema]] = {
    "Live": _object({"live": {"const": True}}),
    "Ready": _object({"ready": {"const": True}}),
    "ModelReady": _object({"name": _text(), "ready": {"const": True}}),
    "ServerMetadata": _object({"name": _text(), "version": _text(), "extensions": _array(_text())}),
    "ModelMetadata": _object(
        {
            "name": _text(),
            "versions": _array(_text()),
            "platform": _text(),
            "inputs": _array(reference("TensorMetadata")),
            "outputs": _array(reference("TensorMetadata")),
        }
    ),
    "TensorMetadata": _object(
        {
            "name": _text(),
            "datatype": _DATATYPE,
            "shape": _array({"type": "integer"}, description="-1 is the number of images."),
        }
    ),
    "ModelConfig": _object(
        {
            "name": _text(),
            "platform": _text(),
            "backend": _text(),
            "max_batch_size": _count("Images that one request may bring."),
            "input": _array({"type": "object"}),
            "output": _array({"type": "object"}),
            "instance_group": _array({"type": "object"}),
            "parameters": {
                "type": "object",
                "description": "The layout that was measured, the classes, and which forms of input fit.",
                "additionalProperties": _object({"string_value": _text()}),
            },
        },
        open_=True,
    ),
    "Duration": _object({"count": _count(), "ns": _count("Nanoseconds of all together.")}),
    "Statistics": _object({"model_stats": _array(reference("ModelStatistics"))}),
    "ModelStatistics": _object(
        {
            "name": _text(),
            "version": _text(),
            "last_inference": _count("Milliseconds since 1970; 0 for never."),
            "inference_count": _count("Images."),
            "execution_count": _count("Calls of the engine."),
            "inference_stats": _object(dict.fromkeys(_TIMED, reference("Duration")), open_=True),
            "batch_stats": _array(_object({"batch_size": _count()}, open_=True)),
        },
        open_=True,
    ),
    "RepositoryIndexRequest": _object(
        {}, {"ready": {"type": "boolean", "description": "Only those that are ready."}}, open_=True
    ),
    "RepositoryIndex": _array(
        _object(
            {
                "name": _text(),
                "version": _text(),
                "state": _text(enum=_STATES),
                "reason": _text("Why it is not ready."),
            }
        )
    ),
    "LoadRequest": _object(
        {},
        {"parameters": {"type": "object", "maxProperties": 0, "description": "A model is its file."}},
        open_=True,
    ),
    "UnloadRequest": _object(
        {}, {"parameters": {"type": "object", "description": "Read and ignored."}}, open_=True
    ),
    "Nothing": _object({}),
}

#: All of them, by name.
SCHEMAS: Final[dict[str, Schema]] = {"Error": _ERROR, **_PAGE, **_INFERENCE, **_MODELS}

"""The OpenAPI document is valid, complete, and agrees with the routes that are registered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import jsonschema_rs
import msgspec
import pytest

from edgecnn.serving.http.message import Handler
from edgecnn.serving.http.routing import Router
from edgecnn.serving.open_inference.contract import Service
from edgecnn.serving.open_inference.envelope import Envelope, InputPart, OutputPart
from edgecnn.serving.openapi import openapi_document
from edgecnn.serving.routes_page import add_page_routes
from edgecnn.serving.routes_v1 import add_v1_routes
from edgecnn.serving.routes_v2 import add_v2_routes
from edgecnn.serving.service import InferenceService

_METHODS = ("get", "post", "put", "delete")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """As a client gets it."""
    encoded = msgspec.json.encode(openapi_document("1.2.3", ["mobilenet_v2", "resnet18"]))
    return cast("dict[str, Any]", msgspec.json.decode(encoded))


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in _METHODS
            yield method, path, operation


def test_a_strict_reader_takes_it(document: dict[str, Any]) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_dict(document)
    schema.validate()
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == len(list(_operations(document)))


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from _references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _references(member)


def test_every_reference_leads_somewhere_and_every_component_is_used(document: dict[str, Any]) -> None:
    components = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses")
        for name in document["components"][kind]
    }
    assert set(_references(document)) == components


def test_operations_have_names_tags_and_the_parameters_of_their_paths(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    identifiers = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(set(identifiers)) == len(identifiers)
    for _, path, operation in _operations(document):
        assert set(operation["tags"]) <= tags
        assert operation["summary"].endswith(".")
        named = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
    used = {tag for _, _, operation in _operations(document) for tag in operation["tags"]}
    assert used == tags


def test_refusals_are_said_where_they_can_come(document: dict[str, Any]) -> None:
    for method, path, operation in _operations(document):
        answers = set(operation["responses"])
        assert {"200", "400", "500", "503"} <= answers
        assert ("401" in answers) == (operation["security"] != [])
        assert ("413" in answers) == ("requestBody" in operation) == (method == "post")
        assert (
            ("429" in answers)
            == ("504" in answers)
            == path.endswith(("/infer", "/predict", "/predict/{model}"))
        )
        assert ("403" in answers) == path.endswith("load")
        if "{model}" in path:
            assert "404" in answers
    responses = document["components"]["responses"]
    assert "Retry-After" in responses["Overloaded"]["headers"]
    for response in responses.values():
        assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}


def test_models_are_examples(document: dict[str, Any]) -> None:
    (model,) = document["paths"]["/v2/models/{model}/config"]["get"]["parameters"]
    assert model["schema"]["examples"] == ["mobilenet_v2", "resnet18"]
    without = openapi_document("1", [])["paths"]["/v2/models/{model}/config"]["get"]["parameters"]
    assert "examples" not in without[0]["schema"]


class _Recorder:
    """Takes routes as a Router does, and remembers them."""

    def __init__(self) -> None:
        self.public: dict[tuple[str, str], bool] = {}

    def route(
        self,
        method: str,
        pattern: str,
        handler: Handler,
        *,
        max_body: int | None = None,
        public: bool = False,
    ) -> None:
        self.public[method.lower(), pattern] = public


def test_it_says_what_is_registered(document: dict[str, Any]) -> None:
    recorder = _Recorder()
    router = cast("Router", recorder)
    add_page_routes(router, dict)
    add_v1_routes(router, cast("InferenceService", None))
    add_v2_routes(router, cast("Service", None), max_body_bytes=1)
    said = {(method, path): operation["security"] == [] for method, path, operation in _operations(document)}
    assert said == recorder.public


@pytest.mark.parametrize(
    ("name", "struct"),
    [("InferRequest", Envelope), ("RequestInput", InputPart), ("RequestOutput", OutputPart)],
)
def test_infer_requests_have_the_fields_that_are_read(
    document: dict[str, Any], name: str, struct: type[msgspec.Struct]
) -> None:
    schema = document["components"]["schemas"][name]
    fields = msgspec.structs.fields(struct)
    assert set(schema["properties"]) == {field.name for field in fields}
    assert set(schema["required"]) == {field.name for field in fields if field.required}


def test_the_answers_of_the_page_fit_their_schemas(document: dict[str, Any]) -> None:
    prediction = {
        "model": "mobilenet_v2",
        "version": "1",
        "predictions": [
            {
                "image": "cat.jpg",
                "top": [{"index": 281, "label": "tabby", "probability": 0.93}],
                "error": None,
            },
            {"image": None, "top": None, "error": "The image is cut off."},
        ],
        "timings_ms": {"decode": 1.0, "queue": 0, "compute": 4.5, "total": 6.0},
    }
    assert _valid(document, "Predictions", prediction)
    assert not _valid(document, "Predictions", {**prediction, "timings_ms": {"decode": 1.0}})
    assert _valid(document, "Error", {"error": "No. Do this."})
    assert not _valid(document, "Error", {"detail": "No."})


def _valid(document: dict[str, Any], name: str, value: object) -> bool:
    components = {"components": document["components"]}
    return bool(jsonschema_rs.is_valid({"$ref": f"#/components/schemas/{name}", **components}, value))

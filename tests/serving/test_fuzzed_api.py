"""Every operation of the OpenAPI document against a running server, with what schemathesis makes up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from onnx import ModelProto
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from edgecnn import __version__
from edgecnn.serving.openapi import openapi_document
from tests.colour_model import write_colour_model

pytestmark = pytest.mark.slow

schema = schemathesis.openapi.from_dict(openapi_document(__version__, ["colours"]))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, graph_of: Callable[..., ModelProto]) -> Iterator[str]:
    path = write_colour_model(tmp_path_factory.mktemp("model") / "colours.onnx", graph_of)
    with _serving(path) as url:
        yield url
        assert httpx.get(f"{url}/v2/health/ready").status_code == 200, "the server did not survive"


class _serving:  # noqa: N801 - a context manager
    def __init__(self, path: Path) -> None:
        how = ("--instances", "1", "--threads", "1", "--max-batch", "1", "--no-grpc", "--port", "0")
        command = [sys.executable, "-m", "edgecnn", "serve", str(path), "--json", "-q", *how]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        url: str = json.loads(self._process.stdout.readline())["url"]
        return url

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@schema.parametrize()
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
def test_no_request_gets_an_answer_that_is_not_documented(case: schemathesis.Case[Any], server: str) -> None:
    response = case.call(base_url=server)
    case.validate_response(
        response,
        checks=[
            schemathesis.checks.not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ],
    )

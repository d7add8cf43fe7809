"""Every name of TensorRT that running a plan uses is in all versions from 10.3 to 11.4."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import edgecnn

_ENGINES = Path(edgecnn.__file__).parent / "engines"

#: Files that call TensorRT while a plan is opened and run; what RTX has besides is in its engine's tests.
RUNNING = ("trt", "plan_source", "plan_model", "plan_lane")

#: Name of a variable -> TensorRT's class of it.
RECEIVERS = {"context": "IExecutionContext", "engine": "ICudaEngine", "runtime": "Runtime"}

#: Version -> class -> its members, in one string.
NAMES: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parents[1] / "plans" / "tensorrt_names.json").read_text(encoding="utf-8")
)


def used() -> set[tuple[str, str]]:
    """(class, member), by the names that variables have."""
    nodes = (
        node
        for file in RUNNING
        for node in ast.walk(ast.parse((_ENGINES / f"{file}.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    )
    return {found for node in nodes if (found := _use(node)) is not None}


def _use(node: ast.Attribute) -> tuple[str, str] | None:
    match node:
        case ast.Attribute(ast.Name(name), member) if name in RECEIVERS:
            return RECEIVERS[name], member
        case ast.Attribute(ast.Attribute(_, "engine"), member):
            return "ICudaEngine", member
        case ast.Attribute(ast.Attribute(ast.Name("trt"), kind), member):
            return kind, member
    return None


def test_the_source_is_read() -> None:
    """A sample, so that an empty list passes for nothing."""
    assert {
        ("IExecutionContext", "execute_async_v3"),
        ("IExecutionContext", "set_device_memory"),
        ("ICudaEngine", "create_execution_context"),
        ("ICudaEngine", "device_memory_size_v2"),
        ("Runtime", "deserialize_cuda_engine"),
        ("ExecutionContextAllocationStrategy", "USER_MANAGED"),
    } <= used()


@pytest.mark.parametrize("version", NAMES)
def test_every_name_is_in(version: str) -> None:
    known = NAMES[version]
    assert [f"{kind}.{name}" for kind, name in used() if name not in known.get(kind, "").split()] == []

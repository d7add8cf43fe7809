"""The names of TensorRT that edgecnn's source uses, found in its syntax trees.

Objects of TensorRT have no types, and so go by one name each wherever they are used; :data:`RECEIVERS` says
what class it stands for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import edgecnn

#: Name of a variable or parameter -> TensorRT's class of it.
RECEIVERS = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "engine": "ICudaEngine",
    "fault": "ParserError",
    "inspector": "EngineInspector",
    "layer": "ILayer",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "tensor": "ITensor",
    "timings": "ITimingCache",
}

_ROOT = Path(edgecnn.__file__).parent

#: The files that call TensorRT while a plan is built.
BUILDING = tuple(
    _ROOT / "plans" / f"{name}.py"
    for name in ("compile", "diagnosis", "here", "layers", "logger", "monitor", "timing_cache")
)


def used_names(path: Path) -> Iterator[tuple[str, str]]:
    """(class, member) of each use; the member is "" where the class itself is named."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield from _used(node)
        elif isinstance(node, ast.ClassDef):
            yield from _overridden(node)


def _used(node: ast.Attribute) -> Iterator[tuple[str, str]]:
    owner = node.value
    if node.attr.startswith("__"):
        return
    if isinstance(owner, ast.Name) and owner.id == "trt":
        yield node.attr, ""
    elif isinstance(owner, ast.Name) and owner.id in RECEIVERS:
        yield RECEIVERS[owner.id], node.attr
    elif isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name) and owner.value.id == "trt":
        yield owner.attr, node.attr


def _overridden(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """The public methods of a class that TensorRT calls."""
    for base in node.bases:
        if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name) and base.value.id == "trt":
            yield from (
                (base.attr, part.name)
                for part in node.body
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")
            )

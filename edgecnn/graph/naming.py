"""Names nodes after the modules that they come from: ``features.0.1/Conv``.

Both exporters record where a node comes from, each in its own way. One convention lets people find a
layer in the graph, name it on the command line, and lets a check compare it with the module.
"""

from __future__ import annotations

import ast
from collections import Counter

import onnx

__all__ = ["module_of", "name_nodes_by_module"]

SCOPES_KEY = "pkg.torch.onnx.name_scopes"


def name_nodes_by_module(model: onnx.ModelProto) -> None:
    """Rename every node to ``<module path>/<operator>``, made unique with ``_2``, ``_3``, ...

    The value that a node produces takes the node's name, unless it is an output of the graph; further
    values of the same node get ``:1``, ``:2``, ....
    """
    taken: Counter[str] = Counter()
    renamed: dict[str, str] = {}
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        base = f"{_scope(node)}/{node.op_type}".removeprefix("/")
        taken[base] += 1
        node.name = base if taken[base] == 1 else f"{base}_{taken[base]}"
        for index, value in enumerate(node.output):
            if value and value not in outputs:
                renamed[value] = f"{node.name}:{index}" if index else node.name
    _rename_values(model.graph, renamed)


def module_of(node: onnx.NodeProto) -> str:
    """The path of the module that a node named by :func:`name_nodes_by_module` comes from."""
    return node.name.rpartition("/")[0]


def _scope(node: onnx.NodeProto) -> str:
    """The path of the innermost module, from the exporter's metadata or from the exporter's node name."""
    for entry in node.metadata_props:
        if entry.key == SCOPES_KEY:
            scopes: list[str] = ast.literal_eval(entry.value)
            return scopes[-2] if len(scopes) > 1 else ""
    return _torchscript_scope(node.name.split("/")[1:-1])


def _torchscript_scope(parts: list[str]) -> str:
    """Join the parts of a name like ``/first/body/body.2/Relu``: children of a Sequential repeat its name."""
    path: list[str] = []
    for part in parts:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path)


def _rename_values(graph: onnx.GraphProto, renamed: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in graph.value_info:
        value.name = renamed.get(value.name, value.name)

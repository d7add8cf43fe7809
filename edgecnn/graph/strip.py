"""Removes what an exporter writes for its own debugging: stack traces with local paths, FX node texts."""

from __future__ import annotations

import onnx

__all__ = ["strip_debug_info"]


def strip_debug_info(model: onnx.ModelProto) -> None:
    """Remove documentation strings and metadata of nodes and values; the model's own metadata stays."""
    model.doc_string = model.graph.doc_string = ""
    graph = model.graph
    for item in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    graph.ClearField("metadata_props")

"""What a model file says of itself besides its graph."""

from __future__ import annotations

import onnx

__all__ = ["keep_labels"]

_LABELS = ("producer_name", "producer_version", "domain", "model_version", "doc_string")


def keep_labels(quantised: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Give ``quantised`` the producer, version, texts and metadata of the ``model`` that it was made from.

    Quantisers sign as the producer, and ONNX Runtime's leaves a mark of its own among the metadata. How a
    file was quantised stands in its spec.
    """
    for label in _LABELS:
        setattr(quantised, label, getattr(model, label))
    quantised.graph.doc_string = model.graph.doc_string
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)

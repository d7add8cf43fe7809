"""What a server says of itself and its models: the protocol's documents, as JSON values.

The same values become gRPC messages, whose fields have the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from edgecnn import __version__
from edgecnn.engines.choice import parse_choice
from edgecnn.serving.open_inference.contract import Counted, ModelState, ModelStatistics, ServedModel
from edgecnn.serving.open_inference.datatypes import datatype_of
from edgecnn.serving.open_inference.forms import accepted_forms, image_shape

__all__ = [
    "EXTENSIONS",
    "model_config",
    "model_metadata",
    "repository_index",
    "server_metadata",
    "statistics",
]

Document = dict[str, Any]

#: The parts of the protocol beyond its core that this server has, by the names that Triton gave them.
EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)

#: Engine -> platform, as the protocol names the pair of a runtime and a file format, and Triton's backend.
_PLATFORMS: Final = {
    "ort": ("onnxruntime_onnx", "onnxruntime"),
    "ort-cuda": ("onnxruntime_onnx", "onnxruntime"),
    "openvino": ("openvino_onnx", "openvino"),
    "torch": ("pytorch_onnx", "pytorch"),
    "torch-compile": ("pytorch_onnx", "pytorch"),
}
_GPU_ENGINES: Final = frozenset({"ort-cuda"})


def server_metadata() -> Document:
    """Who answers."""
    return {"name": "edgecnn", "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(model: ServedModel, versions: Sequence[str]) -> Document:
    """What a model takes in its own form, and what it gives; -1 is the number of images.

    Args:
        model: one version of it.
        versions: all that can be asked for.
    """
    spec = model.spec
    return {
        "name": model.name,
        "versions": list(versions),
        "platform": _platform(model)[0],
        "inputs": [_tensor(spec.input.name, datatype_of(spec.input.dtype), image_shape(spec))],
        "outputs": [_tensor(spec.output.name, "FP32", (len(spec.classes),))],
    }


def model_config(model: ServedModel) -> Document:
    """A model's configuration in Triton's shape; what Triton has no field for is among the parameters."""
    spec, layout = model.spec, model.layout
    platform, backend = _platform(model)
    kind = "KIND_GPU" if _engine_name(model) in _GPU_ENGINES else "KIND_CPU"
    own_input = {
        "name": spec.input.name,
        "data_type": f"TYPE_{datatype_of(spec.input.dtype)}",
        "format": "FORMAT_NHWC" if spec.preprocess.in_graph else "FORMAT_NCHW",
        "dims": list(image_shape(spec)),
    }
    return {
        "name": model.name,
        "platform": platform,
        "backend": backend,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": model.max_images,
        "input": [own_input],
        "output": [{"name": spec.output.name, "data_type": "TYPE_FP32", "dims": [len(spec.classes)]}],
        "instance_group": [{"name": model.name, "kind": kind, "count": layout.instances}],
        "dynamic_batching": {"preferred_batch_size": list(layout.sizes)},
        "parameters": {key: {"string_value": text} for key, text in _parameters(model).items()},
    }


def statistics(models: Iterable[ModelStatistics]) -> Document:
    """What happened to the models' requests, in Triton's shape."""
    return {"model_stats": [_statistics(model) for model in models]}


def repository_index(states: Iterable[ModelState]) -> list[Document]:
    """All versions of all models, and whether they are ready."""
    return [
        {"name": state.name, "version": state.version, "state": state.state, "reason": state.reason}
        for state in states
    ]


def _tensor(name: str, datatype: str, image: Sequence[int | str]) -> Document:
    return {"name": name, "datatype": datatype, "shape": [-1, *image]}


def _engine_name(model: ServedModel) -> str:
    return parse_choice(model.layout.engine).name


def _platform(model: ServedModel) -> tuple[str, str]:
    engine = _engine_name(model)
    return _PLATFORMS.get(engine, (engine, engine))


def _parameters(model: ServedModel) -> dict[str, str]:
    spec, layout = model.spec, model.layout
    inputs = [{"datatype": datatype, "shape": shape} for datatype, shape in accepted_forms(spec).values()]
    return {
        "network": spec.network,
        "precision": spec.precision,
        "scores": spec.scores,
        "classes": _json(spec.classes),
        "accepted_inputs": _json(inputs),
        "engine": layout.engine,
        "instances": str(layout.instances),
        "threads": "engine's choice" if layout.threads is None else str(layout.threads),
        "batch_sizes": _json(layout.sizes),
        "call_ms": _json(dict(layout.call_ms)),
        "images_per_s": _json(dict(layout.images_per_s)),
    }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _statistics(model: ModelStatistics) -> Document:
    never: Counted = (0, 0)
    durations = {
        "success": model.success,
        "fail": model.fail,
        "queue": model.queue,
        "compute_input": model.compute_input,
        "compute_infer": model.compute_infer,
        "compute_output": model.compute_output,
        "cache_hit": never,
        "cache_miss": never,
    }
    batches = [
        {
            "batch_size": size,
            "compute_input": _duration(never),
            "compute_infer": _duration(counted),
            "compute_output": _duration(never),
        }
        for size, counted in sorted(model.batches.items())
    ]
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": model.last_inference_ms,
        "inference_count": model.inference_count,
        "execution_count": model.execution_count,
        "inference_stats": {key: _duration(counted) for key, counted in durations.items()},
        "batch_stats": batches,
        "memory_usage": [],
    }


def _duration(counted: Counted) -> Document:
    count, ns = counted
    return {"count": count, "ns": ns}

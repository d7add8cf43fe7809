import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from edgecnn import __version__
from edgecnn.serving.open_inference.documents import (
    model_config,
    model_metadata,
    repository_index,
    server_metadata,
    statistics,
)
from edgecnn.serving.open_inference.messages import message_of


def test_server_metadata() -> None:
    document = server_metadata()
    assert (document["name"], document["version"]) == ("edgecnn", __version__)
    assert {"binary_tensor_data", "classification", "statistics"} <= set(document["extensions"])


def test_model_metadata_leaves_the_number_of_images_open(model_of: Any) -> None:
    assert model_metadata(model_of(batch=2), ["1", "2"]) == {
        "name": "tiny",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 8, 8]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
    }


@pytest.mark.parametrize(
    ("dtype", "in_graph", "data_type", "layout", "dims"),
    [
        ("float32", False, "TYPE_FP32", "FORMAT_NCHW", [3, 8, 8]),
        ("float16", False, "TYPE_FP16", "FORMAT_NCHW", [3, 8, 8]),
        ("uint8", True, "TYPE_UINT8", "FORMAT_NHWC", [8, 8, 3]),
    ],
)
def test_model_config(
    model_of: Any, dtype: str, in_graph: bool, data_type: str, layout: str, dims: list[int]
) -> None:
    config = model_config(model_of(dtype=dtype, in_graph=in_graph))
    assert config["max_batch_size"] == 4
    assert config["input"] == [{"name": "image", "data_type": data_type, "format": layout, "dims": dims}]
    assert config["output"] == [{"name": "logits", "data_type": "TYPE_FP32", "dims": [10]}]
    assert config["instance_group"] == [{"name": "tiny", "kind": "KIND_CPU", "count": 2}]
    assert config["dynamic_batching"] == {"preferred_batch_size": [1, 2]}


def test_the_configs_parameters_hold_the_cost_curve_and_what_a_client_may_send(model_of: Any) -> None:
    parameters = {key: value["string_value"] for key, value in model_config(model_of())["parameters"].items()}
    assert json.loads(parameters["call_ms"]) == {"1": 0.5, "2": 0.75}
    assert json.loads(parameters["images_per_s"]) == {"1": 4000.0, "2": 5000.5}
    assert json.loads(parameters["classes"])[3] == "class 3"
    assert json.loads(parameters["accepted_inputs"]) == [
        {"datatype": "FP32", "shape": ["N", 3, 8, 8]},
        {"datatype": "UINT8", "shape": ["N", 8, 8, 3]},
        {"datatype": "BYTES", "shape": ["N"]},
    ]
    assert parameters["engine"] == "ort:threads=1"


@pytest.mark.parametrize(
    ("engine", "platform", "backend", "kind"),
    [
        ("ort-cuda", "onnxruntime_onnx", "onnxruntime", "KIND_GPU"),
        ("openvino:precision=bf16", "openvino_onnx", "openvino", "KIND_CPU"),
        ("my.engine:Engine", "my.engine:Engine", "my.engine:Engine", "KIND_CPU"),
    ],
)
def test_platforms_of_engines(model_of: Any, engine: str, platform: str, backend: str, kind: str) -> None:
    model = model_of()
    model.layout.engine = engine
    config = model_config(model)
    assert (config["platform"], config["backend"]) == (platform, backend)
    assert config["instance_group"][0]["kind"] == kind


def test_statistics_in_tritons_shape(service: Any) -> None:
    (model,) = statistics(service.statistics())["model_stats"]
    assert (model["name"], model["version"], model["last_inference"]) == ("tiny", "1", 1_700_000_000_000)
    assert (model["inference_count"], model["execution_count"]) == (5, 4)
    assert model["inference_stats"]["success"] == {"count": 3, "ns": 300}
    assert model["inference_stats"]["cache_hit"] == {"count": 0, "ns": 0}
    assert [batch["batch_size"] for batch in model["batch_stats"]] == [1, 2]
    assert model["batch_stats"][0]["compute_infer"] == {"count": 3, "ns": 120}


def test_every_document_is_a_message_too(service: Any) -> None:
    """Fields that the messages lack would be refused here."""
    served = service.served
    documents = {
        "ServerMetadataResponse": server_metadata(),
        "ModelMetadataResponse": model_metadata(served, ["1"]),
        "ModelConfigResponse": {"config": model_config(served)},
        "ModelStatisticsResponse": statistics(service.statistics()),
        "RepositoryIndexResponse": {"models": repository_index(service.index())},
    }
    for name, document in documents.items():
        message = message_of(f"inference.{name}", document)
        assert set(MessageToDict(message, preserving_proto_field_name=True)) == set(document)

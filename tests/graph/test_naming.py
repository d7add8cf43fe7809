"""Nodes are named after modules, whichever exporter wrote the graph."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn

from edgecnn.export.exporter import to_onnx
from edgecnn.export.settings import ExportSettings
from edgecnn.graph.naming import module_of
from edgecnn.graph.strip import strip_debug_info


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.body(x)
        return x + y


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _Block(), _Block()
        self.head = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.second(self.first(x)).mean((2, 3)))
        return y


@pytest.fixture(params=["dynamo", "torchscript"], scope="module")
def model(request: pytest.FixtureRequest) -> onnx.ModelProto:
    settings = ExportSettings(exporter=request.param)
    return to_onnx(_Net().eval(), torch.zeros(2, 3, 8, 8), settings)


def test_names_say_module_and_operator(model: onnx.ModelProto) -> None:
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {"first/Add", "second/Add", "head/Gemm"} <= set(names)
    assert "second.body.2/Relu" in names
    assert [name for name in names if name.startswith("first.body.") and name.endswith("/Conv")]


def test_batch_norm_is_folded(model: onnx.ModelProto) -> None:
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_values_carry_the_name_of_their_node(model: onnx.ModelProto) -> None:
    add = next(node for node in model.graph.node if node.name == "first/Add")
    assert list(add.output) == ["first/Add"]
    assert [value.name for value in model.graph.output] == ["logits"]
    onnx.checker.check_model(model, full_check=True)


def test_module_of() -> None:
    assert module_of(onnx.NodeProto(name="features.0.1/Conv_2")) == "features.0.1"
    assert module_of(onnx.NodeProto(name="Reshape")) == ""


def test_no_local_path_or_stack_trace_is_left(model: onnx.ModelProto) -> None:
    assert b"site-packages" not in model.SerializeToString()
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_strip_keeps_the_models_own_metadata() -> None:
    model = onnx.ModelProto()
    model.metadata_props.add(key="edgecnn.spec", value="{}")
    model.graph.node.add().metadata_props.add(key="trace", value="/home/me/x.py")
    strip_debug_info(model)
    assert len(model.metadata_props) == 1
    assert not model.graph.node[0].metadata_props

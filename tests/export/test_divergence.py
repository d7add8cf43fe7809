"""When an export is wrong, the message names the layer where it goes wrong."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from edgecnn.artifact import graph_input, graph_output
from edgecnn.export.divergence import first_divergence
from edgecnn.export.exporter import to_onnx
from edgecnn.export.settings import ExportSettings
from edgecnn.spec import ModelSpec, Preprocess, WeightsId


class _Net(nn.Module):
    """Six convolutions with batch norm, one branch, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(*(self._stage() for _ in range(6)))
        self.head = nn.Linear(4, 5)

    @staticmethod
    def _stage() -> nn.Module:
        norm = nn.BatchNorm2d(4)
        nn.init.uniform_(norm.running_mean, -1, 1)  # type: ignore[arg-type]
        return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), norm, nn.ReLU(inplace=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([x, x.mean(1, keepdim=True)], dim=1)
        y: torch.Tensor = self.head(self.stages(x).mean((2, 3)))
        return y


Exported = tuple[_Net, onnx.ModelProto, ModelSpec]


def _export(exporter: Literal["dynamo", "torchscript"]) -> Exported:
    torch.manual_seed(3)
    net = _Net().eval()
    model = to_onnx(net, torch.zeros(2, 3, 8, 8), ExportSettings(exporter=exporter))
    spec = ModelSpec(
        network="net",
        classes=tuple("abcde"),
        input=graph_input(model),
        output=graph_output(model),
        preprocess=Preprocess(resize=8, crop=(8, 8)),
        weights=WeightsId(kind="random", name="seed=3"),
    )
    return net, model, spec


@pytest.fixture(params=["dynamo", "torchscript"], scope="module")
def exported(request: pytest.FixtureRequest) -> Exported:
    return _export(request.param)


def _images() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


def test_a_right_export_diverges_nowhere(exported: Exported) -> None:
    net, model, spec = exported
    assert first_divergence(net, model, spec, _images()) is None


@pytest.mark.parametrize("stage", [0, 3, 5])
def test_the_damaged_layer_is_named(exported: Exported, stage: int) -> None:
    net, model, spec = exported
    damaged = onnx.ModelProto()
    damaged.CopyFrom(model)
    convolutions = [node for node in damaged.graph.node if node.op_type == "Conv"]
    _scale_weights(damaged, convolutions[stage].input[1])
    found = first_divergence(net, damaged, spec, _images())
    assert found is not None
    assert found.first_different.startswith(f"stages.{stage}")
    assert (found.last_equal or "").startswith(f"stages.{stage - 1}" if stage else "")
    assert f"'stages.{stage}" in str(found)
    assert found.max_rel > 1e-3


def test_the_head_is_named(exported: Exported) -> None:
    net, model, spec = exported
    damaged = onnx.ModelProto()
    damaged.CopyFrom(model)
    _scale_weights(damaged, damaged.graph.node[-1].input[1])
    found = first_divergence(net, damaged, spec, _images())
    assert found is not None
    assert found.first_different == "head"


def _scale_weights(model: onnx.ModelProto, name: str) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 3, name))
            return
    raise AssertionError(f"no weights named {name}")

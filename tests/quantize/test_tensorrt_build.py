"""TensorRT itself takes what is quantised for it: parsed and built ahead of time, without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgecnn.artifact import read_onnx
from edgecnn.cli import main
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.tensorrt import quantize_for_tensorrt
from edgecnn.quantize.tensorrt_rules import tensorrt_violations

pytestmark = [
    pytest.mark.tensorrt,
    pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"),
]

SLOW = (
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "squeezenet1_1",
    "resnet18",
    "shufflenet_v2_x0_5",
)
NETWORKS = ["lenet5", "cifar_resnet20", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]

Export = Callable[[str], onnx.ModelProto]
Observe = Callable[[onnx.ModelProto, NDArray[np.float32]], Mapping[str, Range]]


@dataclass(frozen=True)
class Build:
    """What ``rtx_build.py`` prints."""

    parsed: bool
    errors: list[str]
    complaints: list[str]
    plan_bytes: int


def built(model: onnx.ModelProto, folder: Path) -> Build:
    """Build in a process of its own."""
    path = folder / "model.onnx"
    onnx.save_model(model, path)
    script = Path(__file__).with_name("rtx_build.py")
    done = subprocess.run(
        [sys.executable, str(script), str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    return Build(**json.loads(done.stdout))


def quantized(name: str, export: Export, observe: Observe) -> onnx.ModelProto:
    model = export(name)
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    batch = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    return quantize_for_tensorrt(model, observe(model, batch))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_parses_and_builds(name: str, export: Export, observe: Observe, tmp_path: Path) -> None:
    model = quantized(name, export, observe)
    assert tensorrt_violations(model) == ()
    build = built(model, tmp_path)
    assert build.parsed
    assert build.errors == []
    assert not [line for line in build.complaints if "ERROR" in line]
    assert build.plan_bytes > 0


@pytest.mark.slow
def test_what_the_command_line_writes_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that the automatic recipe does to the model before the pairs are placed."""
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    model, path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    data = ("--calib", "digits", "--images", 64, "--max-drop", 100)
    edgecnn("export", "lenet5", "--weights", "random", "--exporter", "torchscript", "-o", model, "-q")
    edgecnn("quantize", model, *data, "--target", "trt", "--recipe", "auto", "--threads", 1, "-o", path)
    quantised = read_onnx(path)
    assert tensorrt_violations(quantised) == ()
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in quantised.graph.node}
    build = built(quantised, tmp_path)
    assert (build.parsed, build.errors, build.complaints) == (True, [], [])
    assert build.plan_bytes > 0


def edgecnn(*arguments: object) -> None:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def test_what_the_rules_name_the_parser_refuses(export: Export, observe: Observe, tmp_path: Path) -> None:
    model = quantized("lenet5", export, observe)
    zero_point = next(tensor for tensor in model.graph.initializer if tensor.name == "input/zero_point")
    zero_point.CopyFrom(numpy_helper.from_array(np.array(3, np.int8), zero_point.name))
    assert tensorrt_violations(model)
    build = built(model, tmp_path)
    assert not build.parsed
    assert any("zero" in error.lower() for error in build.errors), build.errors


def test_uint8_parses_with_a_warning_only_which_is_why_the_rules_refuse_it(tmp_path: Path) -> None:
    """TensorRT for RTX 1.7 reads it as int8: what is above half of the range would be cut off silently."""
    constants = [
        numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.uint8), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], name="dequantise"),
    ]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3, 8, 8]) for name in "xy"]
    graph = helper.make_graph(nodes, "tiny", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    assert tensorrt_violations(model) == ("quantise: it is in uint8, and TensorRT takes int8 alone",)
    build = built(model, tmp_path)
    assert not build.parsed or any("Defaulting to INT8" in line for line in build.complaints)

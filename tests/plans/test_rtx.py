"""TensorRT for RTX, ahead of time and without a GPU: parse, profile, progress, cancel, build, save."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser

from edgecnn.architectures.normalisation import with_preprocess
from edgecnn.artifact import Artifact, graph_input, graph_output, save_artifact
from edgecnn.cards import card_names, find_card
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.export.exporter import to_onnx
from edgecnn.export.settings import ExportSettings
from edgecnn.plans import read_plan
from edgecnn.plans.build import build_plan, want
from edgecnn.plans.check import require_usable
from edgecnn.plans.flavour import TRT_RTX
from edgecnn.plans.here import Here, this_os
from edgecnn.plans.messages import Progress
from edgecnn.plans.options import BuildOptions
from edgecnn.plans.spec import Batches, PlanPrecision
from edgecnn.spec import ModelSpec
from edgecnn.weights import load_network
from tests.plans.conftest import spec_of
from tests.plans.test_build import left_in

pytestmark = [
    pytest.mark.tensorrt,
    pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"),
]

FAST = ("lenet5", "cifar_resnet20")
#: One of each family.
SOME = (
    *(
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "googlenet",
        "inception_v3",
        "mnasnet0_5",
    ),
    *("mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnext50_32x4d", "seresnet50"),
    *("shufflenet_v1_x0_5", "shufflenet_v2_x0_5", "nin"),
)
ALL = tuple(card_names()) if os.environ.get("EDGECNN_ALL_NETWORKS") == "1" else SOME
SLOW = [name for name in ALL if name not in FAST]
NETWORKS = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def exported(name: str, path: Path, *, pixels: bool = False) -> Artifact:
    """The network with random weights, by the exporter that takes a second; parity is others' business."""
    network = load_network(find_card(name), "random", seed=0)
    height, width = network.preprocess.crop
    channels = network.preprocess.channels
    settings = ExportSettings(exporter="torchscript", input="uint8" if pixels else "float32")
    module = network.module.eval()
    example = torch.zeros(2, channels, height, width)
    if pixels:
        module = with_preprocess(module, replace(network.preprocess, in_graph=True))
        example = torch.zeros(2, height, width, channels, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = to_onnx(module, example, settings)
    spec = ModelSpec(
        network=name,
        classes=network.classes,
        input=graph_input(model),
        output=graph_output(model),
        preprocess=network.preprocess,
        weights=network.weights,
    )
    return save_artifact(model, spec, path)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_builds(name: str, tmp_path: Path) -> None:
    artifact = exported(name, tmp_path / "tiny.onnx")
    sizes: dict[PlanPrecision, int] = {}
    for precision in ("fp32", "fp16"):
        steps: list[Progress] = []
        batches = Batches(min=1, opt=2, max=4)
        options = BuildOptions(flavour=TRT_RTX, precision=precision, batches=batches)
        plan = build_plan(artifact, options, tmp_path / f"{precision}.plan", steps.append)
        spec = read_plan(plan.path).spec
        assert plan.content()
        assert (spec.precision, spec.batches) == (precision, batches)
        assert spec.layers_from == "build log"
        assert spec.network_layers.keys() == {precision}
        assert max(spec.layers, key=spec.layers.__getitem__) == precision
        assert (spec.gpu, spec.compute_capability) == (None, None)
        assert steps[0] == Progress("Building engine", None, 0, steps[0].total)
        assert len(steps) > 10
        sizes[spec.precision] = spec.plan_bytes
    assert sizes["fp16"] < sizes["fp32"]
    assert left_in(tmp_path) == ["fp16.plan", "fp16.plan.json", "fp32.plan", "fp32.plan.json"]


@pytest.fixture
def lenet(tmp_path: Path) -> Artifact:
    return exported("lenet5", tmp_path / "tiny.onnx")


def test_a_cancelled_build_leaves_nothing(lenet: Artifact, tmp_path: Path) -> None:
    def stop(step: Progress) -> None:
        if step.parent is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(lenet, BuildOptions(flavour=TRT_RTX), tmp_path / "lenet5.plan", stop)
    assert left_in(tmp_path) == []


def test_pixels_that_are_transposed_first_build_too(tmp_path: Path) -> None:
    """As edgecnn exported them once; TensorRT's parser transposes no uint8."""
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (uint8[b,8,8,3] x) => (float[b,4,8,8] y)'
        " <float[4,3,1,1] w = {0,1,2,3,4,5,6,7,8,9,10,11}> {"
        " t = Transpose<perm=[0, 3, 1, 2]>(x) c = Cast<to=1>(t) y = Conv(c, w) }"
    )
    for node in model.graph.node:
        node.name = node.output[0]
    artifact = save_artifact(onnx.shape_inference.infer_shapes(model), spec_of(model), tmp_path / "tiny.onnx")
    for precision in ("fp32", "fp16"):
        options = BuildOptions(flavour=TRT_RTX, precision=precision)
        assert build_plan(artifact, options, tmp_path / "x.plan").spec.precision == precision


def test_pixels_as_they_are_exported(tmp_path: Path) -> None:
    artifact = exported("lenet5", tmp_path / "tiny.onnx", pixels=True)
    assert build_plan(artifact, BuildOptions(flavour=TRT_RTX), tmp_path / "x.plan").spec.layers


def test_int8_builds_as_int8(tmp_path: Path) -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[batch,4,8,8] x) => (float[batch,4,8,8] y)'
        " <int8 z = {0}, float s = {0.1}, float t = {0.02}> {"
        " q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear(w, t, z)"
        " c = Conv(d, v) y = Relu(c) }"
    )
    weights = np.random.default_rng(0).integers(-127, 128, (4, 4, 1, 1), np.int8)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    for node in model.graph.node:
        node.name = node.output[0]
    spec = spec_of(onnx.shape_inference.infer_shapes(model), "int8", "trt")
    artifact = save_artifact(model, spec, tmp_path / "tiny.onnx")
    plan = build_plan(artifact, BuildOptions(flavour=TRT_RTX), tmp_path / "x.plan")
    assert plan.spec.precision == "int8"
    assert plan.spec.network_layers == {"int8": 1}
    assert plan.spec.layers["int8"] > 0


def test_an_operator_that_the_parser_refuses(tmp_path: Path) -> None:
    """node, operator, reason, and what to try."""
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[batch,3,8,8] x) => (float[batch,3] y)'
        " { a = Relu(x) y = Det(a) }"
    )
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    artifact = Artifact(tmp_path / "tiny.onnx", spec_of(model))
    onnx.save(model, artifact.path)
    with pytest.raises(EngineError, match=r"refuses .*tiny\.onnx: node 'node_y' \(Det\): ") as caught:
        build_plan(artifact, BuildOptions(flavour=TRT_RTX), tmp_path / "x.plan")
    assert "--opset" in caught.value.remedy
    assert left_in(tmp_path) == []


def test_a_plan_of_rtx_runs_on_no_machine_without_a_gpu(lenet: Artifact, tmp_path: Path) -> None:
    plan = build_plan(lenet, BuildOptions(flavour=TRT_RTX), tmp_path / "x.plan")
    here = Here(
        flavour="trt-rtx",
        tensorrt_version=plan.spec.tensorrt_version,
        gpu=None,
        compute_capability=None,
        os=this_os(),
    )
    with pytest.raises(EngineUnavailableError, match="for RTX GPUs, and this is a machine without a GPU"):
        require_usable(plan, here)


def test_what_is_wanted_does_not_depend_on_the_gpu(lenet: Artifact, tmp_path: Path) -> None:
    options = BuildOptions(flavour=TRT_RTX)
    plan = build_plan(lenet, options, tmp_path / "x.plan")
    assert want(lenet, options).is_met_by(plan.spec)
    assert not want(lenet, BuildOptions(flavour=TRT_RTX, precision="fp16")).is_met_by(plan.spec)

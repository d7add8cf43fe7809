"""Exports with random weights, and what their activations span, for the tests of quantisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from edgecnn.cards import find_card
from edgecnn.export.exporter import to_onnx
from edgecnn.export.settings import ExportSettings
from edgecnn.quantize.calibration import calibrate
from edgecnn.quantize.ranges import Range, choose_range
from edgecnn.quantize.sessions import Images, Session, in_batches
from edgecnn.weights import load_network

Export = Callable[[str], onnx.ModelProto]
Observe = Callable[[onnx.ModelProto, NDArray[np.float32]], Mapping[str, Range]]
GraphOf = Callable[..., onnx.ModelProto]

_SAME = 'auto_pad="SAME_UPPER"'
_HEAD = f"a = Conv<{_SAME}>(x, w1, b1)"
_END = "p = GlobalAveragePool(s) f = Flatten(p) y = Gemm<transB=1>(f, dense, b5)"

#: What the networks of this field are made of, as small as it gets: residual and depthwise with ReLU6, hard
#: swish with squeeze-excite, SiLU.
_SMALL = {
    "residual": f"""{_HEAD} r = Relu(a) d = Conv<group=16, {_SAME}>(r, depth, b2) t = Clip(d, zero, six)
        c = Conv(t, w2, b2) s = Add(r, c) {_END}""",
    "excite": f"""{_HEAD} r = HardSwish(a) d = Conv<group=16, {_SAME}>(r, depth, b2) t = HardSwish(d)
        g = GlobalAveragePool(t) h = Conv(g, squeeze, b3) i = Relu(h) j = Conv(i, excite, b4)
        k = HardSigmoid<alpha=0.16666667, beta=0.5>(j) m = Mul(t, k) s = Conv(m, w2, b2) {_END}""",
    "silu": f"""{_HEAD} u = Sigmoid(a) r = Mul(a, u) d = Conv<group=16, {_SAME}>(r, depth, b2) v = Sigmoid(d)
        t = Mul(d, v) c = Conv(t, w2, b2) s = Add(r, c) {_END}""",
}


@dataclass(frozen=True)
class Small:
    """A small network, images for it, and what its activations span on them."""

    model: onnx.ModelProto
    images: Images
    ranges: Mapping[str, Range]
    reference: NDArray[np.float32]


@pytest.fixture(scope="session")
def export() -> Export:
    """Name -> its graph with random weights, a dynamic batch and the smallest input that it takes."""

    @cache
    def exported(name: str) -> onnx.ModelProto:
        card = find_card(name)
        network = load_network(card, "random", seed=1)
        example = torch.zeros(2, network.preprocess.channels, *card.smallest)
        return to_onnx(network.module.eval(), example, ExportSettings(exporter="torchscript"))

    return exported


@pytest.fixture(scope="session")
def small(graph_of: GraphOf) -> Callable[[str], Small]:
    """Name, "residual", "excite" or "silu" -> that network with random weights and the ranges of "mse"."""

    @cache
    def made(name: str) -> Small:
        model = graph_of(_SMALL[name], _small_weights(), "3,16,16")
        images = np.random.default_rng(5).normal(size=(32, 3, 16, 16)).astype(np.float32)
        histograms = calibrate(model, in_batches(images), len(images), threads=1).histograms
        ranges = {value: choose_range(histogram, "mse") for value, histogram in histograms.items()}
        return Small(model, images, ranges, Session(model, threads=1).scores(images))

    return made


def _small_weights() -> Mapping[str, NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    shapes = {"w1": (16, 3, 3, 3), "depth": (16, 1, 3, 3), "w2": (16, 16, 1, 1), "dense": (10, 16)}
    shapes |= {"squeeze": (8, 16, 1, 1), "excite": (16, 8, 1, 1)}
    sizes = {"b1": 16, "b2": 16, "b3": 8, "b4": 16, "b5": 10}
    # Variances that keep activations alike from layer to layer (He et al., ICCV 2015).
    weights = {
        name: rng.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5 for name, shape in shapes.items()
    }
    biases = {name: 0.3 * rng.normal(size=size) for name, size in sizes.items()}
    found = weights | biases | {"zero": np.array(0.0), "six": np.array(6.0)}
    return {name: value.astype(np.float32) for name, value in found.items()}


@pytest.fixture(scope="session")
def observe() -> Observe:
    """From a graph and one batch of its input to the smallest and largest value of every activation."""
    return observed_ranges


def observed_ranges(model: onnx.ModelProto, batch: NDArray[np.float32]) -> Mapping[str, Range]:
    open_graph = onnx.ModelProto()
    open_graph.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    values = [name for node in model.graph.node for name in node.output if name and name not in outputs]
    open_graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(open_graph.SerializeToString(), settings)
    taken = session.get_inputs()[0].name
    found = {taken: batch} | dict(
        zip([value.name for value in session.get_outputs()], session.run(None, {taken: batch}), strict=True)
    )
    return {name: (float(value.min()), float(value.max())) for name, value in found.items() if value.size}

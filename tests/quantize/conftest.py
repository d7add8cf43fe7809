"""Exports with random weights, and what their activations span, for the tests of quantisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from edgecnn.quantize.ranges import Range
from edgecnn.weights import load_network

Export = Callable[[str], onnx.ModelProto]
Observe = Callable[[onnx.ModelProto, NDArray[np.float32]], Mapping[str, Range]]


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

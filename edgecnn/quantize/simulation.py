"""A float model that rounds its activations as the int8 model will, with ranges that are inputs.

Trying another range, or leaving one activation unrounded, is then one more run and not one more model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecnn.graph.index import GraphIndex
from edgecnn.quantize.bias_correction import round_weights, weighted_nodes
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.sessions import Images, Session

__all__ = ["Simulation"]

_LEVELS = 255

#: 8-bit values go through them as they are, and keep the range that they came with.
_PASSES = frozenset(
    {"MaxPool", "Reshape", "Flatten", "Transpose", "Split", "Slice", "Squeeze", "Unsqueeze", "Identity"}
)
#: Quantised, they need no values of their own before them: the range behind them clips.
_ABSORBED = frozenset({"Relu", "Clip"})
#: Whose pieces the placement chooses the ranges of.
_GATES = frozenset({"HardSigmoid", "Sigmoid"})


class Simulation:
    """An open model whose weights are rounded, and whose activations are where it is told.

    Attributes:
        activations: the values that can be rounded, in the order of the graph.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        ranges: Collection[str],
        levels: int,
        *,
        threads: int,
        symmetric: bool = False,
    ) -> None:
        """Make the simulation of ``model``.

        Args:
            model: in float32, as ``place_qdq`` takes it.
            ranges: names of the values that have a range.
            levels: the largest integer of a weight.
            threads: to use.
            symmetric: whether the middle of every range is 0, as TensorRT has it.
        """
        self._symmetric = symmetric
        self.activations = tuple(name for name in _activations(model) if name in ranges)
        self._session = Session(
            _simulated(model, self.activations, levels), threads=threads, exact_float=True
        )

    def scores(
        self, images: Images, ranges: Mapping[str, Range], only: Collection[str] | None = None
    ) -> NDArray[np.float32]:
        """(N, classes): scores with the activations ``only``, or all, rounded to ``ranges``."""
        spans = np.array([ranges[name] for name in self.activations], np.float64).reshape(-1, 2)
        if self._symmetric:
            spans = np.abs(spans).max(axis=1, keepdims=True) * [-1.0, 1.0]
        scales = np.maximum((spans[:, 1] - spans[:, 0]) / _LEVELS, 1e-12)
        zeros = np.clip(np.rint(-spans[:, 0] / scales), 0, _LEVELS)
        rounded = np.array([only is None or name in only for name in self.activations], np.bool_)
        others: dict[str, NDArray[Any]] = {
            "sim.scales": scales.astype(np.float32),
            "sim.zeros": zeros.astype(np.uint8),
            "sim.rounded": rounded,
        }
        return self._session.scores(images, others)


def _activations(model: onnx.ModelProto) -> list[str]:
    """What the int8 model holds in 8 bits: the input, and what nodes make but for those absorbed."""
    index = GraphIndex(model.graph)
    made = [node.output[0] for node in model.graph.node if node.op_type not in _PASSES]
    return [name for name in (model.graph.input[0].name, *made) if _is_held(name, index)]


def _is_held(name: str, index: GraphIndex) -> bool:
    readers = index.consumers.get(name, [])
    return bool(readers) and not all(node.op_type in _ABSORBED for node in readers) and not _ends(name, index)


def _ends(name: str, index: GraphIndex) -> bool:
    """Whether only changes of shape lie between the value and the output."""
    readers = index.consumers.get(name, [])
    if name in index.outputs or not readers:
        return True
    return all(node.op_type in _PASSES and _ends(node.output[0], index) for node in readers)


def _simulated(model: onnx.ModelProto, activations: Collection[str], levels: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    index = GraphIndex(copy.graph)
    for node in weighted_nodes(index):
        index.replace_constant(node.input[1], round_weights(index.constant(node.input[1]), levels))
    inputs = (
        ("sim.scales", TensorProto.FLOAT),
        ("sim.zeros", TensorProto.UINT8),
        ("sim.rounded", TensorProto.BOOL),
    )
    for name, dtype in inputs:
        copy.graph.input.append(helper.make_tensor_value_info(name, dtype, [len(activations)]))
    rounding = {name: _rounding(index, name, at) for at, name in enumerate(activations)}
    nodes = list(rounding.get(copy.graph.input[0].name, []))
    for node in copy.graph.node:
        node.input[:] = [f"{name}/sim" if name in rounding else name for name in node.input]
        nodes += [node, *rounding.get(node.output[0], [])]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _rounding(index: GraphIndex, name: str, at: int) -> list[onnx.NodeProto]:
    """The nodes that make "NAME/sim" of the value ``name``."""
    position = index.add_constant(f"{name}/sim.at", np.int64(at))
    scale, zero, chosen = (f"{name}/sim.{what}" for what in ("scale", "zero", "chosen"))
    levels, values = f"{name}/sim.levels", f"{name}/sim.values"
    return [
        helper.make_node("Gather", ["sim.scales", position], [scale]),
        helper.make_node("Gather", ["sim.zeros", position], [zero]),
        helper.make_node("Gather", ["sim.rounded", position], [chosen]),
        helper.make_node("QuantizeLinear", [name, scale, zero], [levels]),
        helper.make_node("DequantizeLinear", [levels, scale, zero], [values]),
        helper.make_node("Where", [chosen, values, name], [f"{name}/sim"]),
    ]

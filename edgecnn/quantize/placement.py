"""Q/DQ pairs for ONNX Runtime's int8 kernels, from ranges, by ONNX Runtime's own quantiser."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edgecnn.graph.float_tail import free_output
from edgecnn.graph.hard_gates import GATE_RANGES, fold_scales, open_hard_gates
from edgecnn.graph.index import GraphIndex
from edgecnn.graph.order import tidy
from edgecnn.graph.pin_float import pin_float_convolutions
from edgecnn.quantize.ranges import Range

__all__ = ["Scheme", "place_qdq"]

#: What ONNX Runtime's CPU provider has int8 kernels for, or passes 8-bit values through.
_QUANTISED = (
    *("Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "Sigmoid", "GlobalAveragePool", "AveragePool"),
    *("MaxPool", "Concat", "Reshape", "Flatten", "Transpose", "Split", "Slice", "Squeeze", "Unsqueeze"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """The data types of an int8 model for ONNX Runtime.

    Attributes:
        signed_activations: int8 instead of uint8: what ARM's kernels are fastest with.
        reduce_range: weights of 7 bits, for x86 CPUs whose 8-bit products saturate (without VNNI).
    """

    signed_activations: bool = False
    reduce_range: bool = False

    @property
    def weight_levels(self) -> int:
        """The largest integer of a weight, as ONNX Runtime's quantiser rounds them."""
        return 64 if self.reduce_range else 127

    def __str__(self) -> str:
        activations = "int8" if self.signed_activations else "uint8"
        bits = ", 7 bits" if self.reduce_range else ""
        return f"{activations} activations, int8 weights per channel{bits}"


def place_qdq(
    model: onnx.ModelProto, ranges: Mapping[str, Range], scheme: Scheme, keep_float: Collection[str] = ()
) -> onnx.ModelProto:
    """A copy of ``model`` in which all but the nodes ``keep_float`` work on 8-bit values.

    Args:
        model: in float32, at most opset 20, with global pooling as such (``pool_globally``).
        ranges: value name -> range, of all activations.
        scheme: data types.
        keep_float: names of nodes.

    Returns:
        With Q/DQ pairs, biases as int32, and float scores.
    """
    placed = onnx.ModelProto()
    placed.CopyFrom(model)
    gates = open_hard_gates(placed, keep_float)
    with _quiet():
        quantiser = _Quantiser(
            placed,
            True,
            scheme.reduce_range,
            QuantType.QInt8,
            QuantType.QInt8 if scheme.signed_activations else QuantType.QUInt8,
            _tensors(placed, ranges, gates),
            [],
            [*keep_float, *_scale_nodes(placed)],
            list(_QUANTISED),
            {"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        quantiser.quantize_model()
    quantised: onnx.ModelProto = quantiser.model.model
    fold_scales(quantised)
    free_output(quantised)
    pin_float_convolutions(quantised)
    tidy(quantised)
    return quantised


class _Quantiser(QDQQuantizer):  # type: ignore[misc]
    """ONNX Runtime's, but a mean over pixels gets a range of its own.

    It would take over that of the pixels, which for large windows is several times as wide; the int8 kernel
    takes both.
    """

    def quantize_output_same_as_input(self, output_name: str, input_name: str, node_name: str) -> None:
        """Its own method; ``AveragePool`` asks for it as operators do that change no value."""
        if any(n.op_type == "AveragePool" and output_name in n.output for n in self.model.nodes()):
            self.quantize_activation_tensor(output_name)
        else:
            super().quantize_output_same_as_input(output_name, input_name, node_name)


def _tensors(model: onnx.ModelProto, ranges: Mapping[str, Range], gates: Collection[str]) -> TensorsData:
    """In the quantiser's form; a value between Add and Clip takes the range of what the Clip lets through."""
    known = dict(ranges)
    for shifted in gates:
        stem = shifted.removesuffix("/shifted")
        known |= {f"{stem}{suffix}": span for suffix, span in GATE_RANGES.items()}
        known[f"{stem}/sum"] = GATE_RANGES["/shifted"]
    index = GraphIndex(model.graph)
    for name, node in index.producers.items():
        if node.op_type in {"Sigmoid", "HardSigmoid"} and name in known:
            known[name] = (0.0, 1.0)
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in known.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)


def _scale_nodes(model: onnx.ModelProto) -> Iterator[str]:
    """The products with a constant that :func:`fold_scales` takes out again."""
    return (node.name for node in model.graph.node if node.name.endswith("/Scale"))


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser logs what it changes; here that is intended."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)

"""The recipes that need no images."""

from __future__ import annotations

import onnx

from edgecnn.graph.half import to_half
from edgecnn.quantize.dynamic import quantize_dynamically
from edgecnn.quantize.weights_only import quantize_weights
from edgecnn.quantize.work import Quantised, Work

__all__ = ["dynamic", "fp16", "weights"]


def dynamic(work: Work) -> Quantised:
    """8-bit matrix products with ranges found at run time."""
    return _quantised(
        work,
        quantize_dynamically(work.model, work.keep_float, reduce_range=work.scheme.reduce_range),
        "uint8 activations at run time, int8 weights, in matrix products",
    )


def weights(work: Work) -> Quantised:
    """Weights stored in 8 bits."""
    # TensorRT refuses to cast int8, and ONNX Runtime does not fold a DequantizeLinear: to each its own.
    by_operator = work.settings.target == "trt"
    model = quantize_weights(work.model, work.keep_float, dequantize_linear=by_operator)
    return _quantised(work, model, "int8 weights per channel, float arithmetic")


def fp16(work: Work) -> Quantised:
    """Half-precision floats, input and output in float32."""
    return _quantised(work, to_half(work.model, work.keep_float), "float16, input and output float32")


def _quantised(work: Work, model: onnx.ModelProto, scheme: str) -> Quantised:
    return Quantised(
        model=model,
        scheme=scheme,
        steps=(work.settings.recipe,),
        kept_float=tuple(sorted(work.keep_float)),
    )

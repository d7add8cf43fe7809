"""What a user may choose of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgecnn.errors import UsageError

__all__ = ["DEFAULT_OPSET", "ExportSettings"]

#: torchlib, the exporter's operator library, is written at opset 18; ONNX Runtime's static quantiser and
#: TensorRT 10 read it; and no version conversion is needed to get it.
DEFAULT_OPSET = 18

_OPSETS = {"dynamo": range(18, 24), "torchscript": range(11, 21)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """How a network becomes an ONNX file.

    Attributes:
        batch: the fixed batch size, or None for a dynamic one.
        size: (height, width) of the input, or None for the network's own.
        opset: version of the ONNX operators.
        input: "float32" for (N, C, H, W) normalised input; "uint8" for (N, H, W, C) pixels, with the
            change of layout and the normalisation inside the graph.
        exporter: PyTorch's "dynamo" (torch.export) or its older "torchscript".
    """

    batch: int | None = None
    size: tuple[int, int] | None = None
    opset: int = DEFAULT_OPSET
    input: Literal["float32", "uint8"] = "float32"
    exporter: Literal["dynamo", "torchscript"] = "dynamo"

    def __post_init__(self) -> None:
        opsets = _OPSETS[self.exporter]
        if self.opset not in opsets:
            able = [name for name, known in _OPSETS.items() if self.opset in known]
            remedy = f"Choose --opset {opsets[0]} to {opsets[-1]}"
            remedy += f", or --exporter {able[0]}." if able else "."
            raise UsageError(f"The {self.exporter} exporter does not write opset {self.opset}.", remedy)
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"A batch of {self.batch} is empty.", "Give --batch dynamic or a number from 1.")

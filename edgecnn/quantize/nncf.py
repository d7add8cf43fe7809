"""NNCF's own post-training quantisation: int8 for OpenVINO on CPUs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import rich
from numpy.typing import NDArray

from edgecnn.engines.telemetry import without_telemetry
from edgecnn.errors import EdgecnnError, QuantizationError

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns of CUDA's absence
with without_telemetry():
    import nncf  # imports PyTorch as well, where that is installed

__all__ = ["NncfSettings", "quantize_with_nncf"]

#: Below this, DequantizeLinear has no axis: NNCF would take one scale for all channels, and only log it.
MIN_OPSET = 13

_PRESETS = {"mixed": nncf.QuantizationPreset.MIXED, "performance": nncf.QuantizationPreset.PERFORMANCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class NncfSettings:
    """What NNCF is told.

    Attributes:
        preset: "mixed" lets activations be asymmetric (U8 with a zero point), which suits activations of
            both signs such as those of hard-swish; "performance" makes everything symmetric.
        fast_bias_correction: False is slower, needs more memory and goes through the images layer by layer.
        ignored: names of nodes that stay in float.
        subset_size: how many batches are used at most, from the first on; 300 is NNCF's default.
    """

    preset: Literal["mixed", "performance"] = "mixed"
    fast_bias_correction: bool = True
    ignored: tuple[str, ...] = ()
    subset_size: int = 300


@dataclass(frozen=True, slots=True)
class _Feeds:
    """The batches as NNCF takes them, afresh each time: by the name of the input."""

    batches: Iterable[NDArray[np.float32]]
    input_name: str

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        for batch in self.batches:
            yield {self.input_name: batch}


def quantize_with_nncf(
    model: onnx.ModelProto,
    batches: Iterable[NDArray[np.float32]],
    input_name: str,
    settings: NncfSettings,
) -> onnx.ModelProto:
    """Quantise ``model`` to int8 as NNCF does for CPUs: Q/DQ nodes, weights per channel and stored in int8.

    Names and shapes of input and output, the dynamic batch, the opset and the model's metadata stay. The
    result depends on nothing but the arguments.

    Args:
        model: float32, opset 13 or later, with its weights inside, below 2 GiB; it is not changed.
        batches: (N, C, H, W) float32 each, prepared as the model takes them. They are gone through more
            than once, in order. NNCF takes its statistics per batch: give one image each.
        input_name: of the model's one input.
        settings: what NNCF is told.

    Raises:
        QuantizationError: there is no batch, the opset is too old, or NNCF refuses or fails.
        EdgecnnError: what ``batches`` raises, unchanged.
        ValueError: ``batches`` is an iterator, which can be gone through only once.
    """
    if isinstance(batches, Iterator):
        raise ValueError("batches must be iterable more than once")
    _require_opset(model)
    feeds = _Feeds(batches, input_name)
    if next(iter(feeds), None) is None:
        raise QuantizationError(
            "There is no image to calibrate with.", "Name a folder that holds some: --calib FOLDER"
        )
    return _quantized(model, feeds, settings)


def _quantized(model: onnx.ModelProto, feeds: _Feeds, settings: NncfSettings) -> onnx.ModelProto:
    try:
        with _silence():
            result: onnx.ModelProto = nncf.quantize(
                model,
                nncf.Dataset(feeds),
                preset=_PRESETS[settings.preset],
                target_device=nncf.TargetDevice.CPU,
                subset_size=settings.subset_size,
                fast_bias_correction=settings.fast_bias_correction,
                ignored_scope=nncf.IgnoredScope(names=list(settings.ignored)),
            )
    except EdgecnnError:
        raise
    except Exception as error:  # NNCF's errors share no base class, and ONNX Runtime's come through it
        raise QuantizationError(
            f"NNCF {nncf.__version__} cannot quantise the model: {_reason(error)}", _remedy(settings)
        ) from error
    return result


def _require_opset(model: onnx.ModelProto) -> None:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        raise QuantizationError(
            f"The model is in opset {opset}, and quantisation per channel needs {MIN_OPSET}.",
            "Export it again: edgecnn export NET --opset 18",
        )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _remedy(settings: NncfSettings) -> str:
    if settings.ignored:
        return (
            "Check that every node that is to stay in float is one of the model's; "
            "or use another recipe ('edgecnn quantize --help' lists them)."
        )
    return (
        "Use another recipe ('edgecnn quantize --help' lists them), or export the model with another --opset."
    )


@contextmanager
def _silence() -> Iterator[None]:
    """Without NNCF's progress bars, which go to rich's own console, and its log, which goes to stdout."""
    console: Any = rich.get_console()
    logger = logging.getLogger("nncf")
    quiet, level = console.quiet, logger.level
    console.quiet = True
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        console.quiet = quiet
        logger.setLevel(level)

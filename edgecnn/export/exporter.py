"""PyTorch's exporters, called so that batch norm is folded and one model comes back in memory."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from torch import nn

from edgecnn.errors import ExportError
from edgecnn.export.settings import ExportSettings
from edgecnn.graph.naming import name_nodes_by_module
from edgecnn.graph.strip import strip_debug_info

__all__ = ["INPUT_NAME", "OUTPUT_NAME", "to_onnx"]

INPUT_NAME = "input"
OUTPUT_NAME = "logits"


def to_onnx(module: nn.Module, example: torch.Tensor, settings: ExportSettings) -> onnx.ModelProto:
    """Export ``module``, which is in eval mode.

    Args:
        module: takes one tensor and returns one (N, classes) tensor.
        example: a batch of at least 2 where the batch is dynamic: torch.export takes a size of 1 for a
            constant.
        settings: the exporter, the opset and the batch.

    Raises:
        ExportError: the exporter failed, or wrote another opset than asked for.
    """
    export = _dynamo if settings.exporter == "dynamo" else _torchscript
    try:
        with _quiet():
            model = export(module, example, settings)
    except (RuntimeError, ValueError, TypeError, torch.onnx.OnnxExporterError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()
        raise ExportError(
            f"The {settings.exporter} exporter failed: {reason[0] if reason else type(error).__name__}",
            "Try the other exporter (--exporter dynamo or torchscript) or another --opset.",
        ) from error
    _require_opset(model, settings)
    name_nodes_by_module(model)
    strip_debug_info(model)
    return model


def _dynamo(module: nn.Module, example: torch.Tensor, settings: ExportSettings) -> onnx.ModelProto:
    dynamic = ({0: torch.export.Dim("batch")},) if settings.batch is None else None
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        dynamic_shapes=dynamic,
        opset_version=settings.opset,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        external_data=False,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _torchscript(module: nn.Module, example: torch.Tensor, settings: ExportSettings) -> onnx.ModelProto:
    dynamic = {INPUT_NAME: {0: "batch"}, OUTPUT_NAME: {0: "batch"}} if settings.batch is None else None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            module,
            (example,),
            path,
            dynamo=False,
            dynamic_axes=dynamic,
            opset_version=settings.opset,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
        )
        return onnx.load(path)


def _require_opset(model: onnx.ModelProto, settings: ExportSettings) -> None:
    """The dynamo exporter keeps its own opset when a conversion fails, and only logs it."""
    written = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    if written != settings.opset:
        raise ExportError(
            f"The {settings.exporter} exporter wrote opset {written} instead of {settings.opset}.",
            f"Ask for --opset {written}, or try --exporter torchscript.",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' own progress and deprecation notices from the user's terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)

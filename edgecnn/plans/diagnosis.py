"""What TensorRT's complaints mean, and what to try."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecnn.errors import EngineError
from edgecnn.plans.flavour import Flavour
from edgecnn.plans.logger import BuildLog
from edgecnn.plans.messages import BuildJob

__all__ = ["build_failure", "parse_failure"]

#: What a log says when memory ran out, in lower case.
_MEMORY = ("out of memory", "outofmemory", "insufficient memory", "cudaerrormemoryallocation", "bad_alloc")

#: What it says when a layer has no kernel; the name of the layer follows.
_NO_KERNEL = re.compile(r"could not find any implementation for node (\S+)", re.IGNORECASE)

#: Reason -> what to try, the first that is found in the parser's words.
_PARSER_ADVICE = (
    ("uint8", "Export it with 'edgecnn export' (--input uint8), whose pixels are converted first."),
    ("zero", "Quantise it by TensorRT's rules: edgecnn quantize FP32_MODEL.onnx --target trt --calib DATA"),
    (
        "quantize",
        "Quantise it by TensorRT's rules: edgecnn quantize FP32_MODEL.onnx --target trt --calib DATA",
    ),
    (
        "no importer registered",
        "Export it again with another --opset, or a newer TensorRT may know the operator.",
    ),
    ("opset", "Export it again with an older opset: edgecnn export NET --opset 18"),
)
_EXPORT_AGAIN = "Export it again (edgecnn export NET --opset 18), or try a newer TensorRT."


def parse_failure(errors: Sequence[Any], job: BuildJob, log: BuildLog) -> EngineError:
    """What the parser refused: the first node, its operator and the reason.

    Args:
        errors: of the parser, ParserError.
        job: whose model it is.
        log: for the reason, where the parser gives none.
    """
    reasons = [_reason(fault) for fault in errors]
    reason = reasons[0] if reasons else log.last_error("it gives no reason")
    more = f" There are {len(reasons) - 1} more such errors." if len(reasons) > 1 else ""
    missing = not Path(job.onnx).is_file()
    told = reason.lower()
    if any(word in told for word in _MEMORY):
        return EngineError(
            f"There is not enough memory to parse {job.called}: {reason}.", "Close other programs."
        )
    advice = next((text for word, text in _PARSER_ADVICE if word in told), _EXPORT_AGAIN)
    return EngineError(
        f"TensorRT's parser refuses {job.called}: {reason}.{more}",
        "The file vanished while it was built." if missing else advice,
    )


def _reason(fault: Any) -> str:  # noqa: ANN401 - the packages have no types
    """One of the parser's errors: "node 'a/b' (Transpose): first input has type UInt8"."""
    said = " ".join(str(fault.desc()).split()).rstrip(". ")
    name, operator = fault.node_name(), fault.node_operator()
    where = f"node {name!r} ({operator}): " if name or operator else ""
    return f"{where}{said}"


def build_failure(flavour: Flavour, job: BuildJob, log: BuildLog) -> EngineError:
    """Why the builder returned nothing, from its log."""
    told = " ".join(log.errors)
    if any(word in told.lower() for word in _MEMORY):
        return EngineError(
            f"{flavour.title} ran out of memory while it built {job.called}: {log.last_error('')}.",
            "Close what else uses the GPU, allow less with --workspace-mb, or build for smaller batches "
            "(--batch).",
        )
    if node := _NO_KERNEL.search(told):
        return EngineError(
            f"{flavour.title} has no kernel for {node[1].rstrip('.,')} of {job.called} within its limits.",
            "Allow more memory with --workspace-mb, try another --precision, or smaller batches (--batch).",
        )
    return EngineError(
        f"{flavour.title} failed to build {job.called}: {log.last_error('it gives no reason')}.",
        "Try another --precision or --batch; with the words above, search NVIDIA's forum, or report it.",
    )

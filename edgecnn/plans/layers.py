"""In which precision layers compute: of a parsed network, and of a built plan."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from edgecnn.plans.spec import PlanPrecision

__all__ = ["layers_of_inspector", "layers_of_log", "network_layers", "shortfall"]

#: Names of TensorRT's data types.
_DTYPES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16"}

#: How layer lists write them: "Half", "FP16", "Channel major FP16 format where channel % 8 == 0".
_WORDS = (
    ("int8", re.compile(r"\bint8\b", re.IGNORECASE)),
    ("fp16", re.compile(r"\b(half|fp16|float16)\b", re.IGNORECASE)),
    ("bf16", re.compile(r"\b(bf16|bfloat16)\b", re.IGNORECASE)),
    ("fp32", re.compile(r"\b(float|fp32|float32)\b", re.IGNORECASE)),
)

#: What only moves or converts numbers.
_MOVING = frozenset({"reformat", "noop", "constant", "shape_call", "signal", "wait", "cast"})

_LINE = re.compile(r"Name: .*?, LayerType: (\w*), Inputs: \[(.*?)\], (?:Constants|Outputs): ")
_DATATYPE = re.compile(r"(?:Format/)?Datatype: ([^,}]+)")


def network_layers(trt: Any, network: Any) -> dict[str, int]:  # noqa: ANN401 - the packages have no types
    """Precision -> how many convolutions and matrix products of a strongly typed network have it.

    A layer whose data come from a DequantizeLinear computes in int8: TensorRT fuses the two.
    """
    kinds = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    dequantised: set[str] = set()
    counts: Counter[str] = Counter()
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        if layer.type == trt.LayerType.DEQUANTIZE:
            tensor = layer.get_output(0)
            dequantised.add(tensor.name)
        elif layer.type in kinds:
            tensor = layer.get_input(0)
            counts["int8" if tensor.name in dequantised else _DTYPES.get(tensor.dtype.name, "other")] += 1
    return dict(counts)


def layers_of_log(text: str) -> dict[str, int]:
    """Precision -> how many layers of the plan have it, from the builder's list in its log."""
    return _counted(
        (found[1], datatype[1] if (datatype := _DATATYPE.search(found[2])) else "")
        for line in text.splitlines()
        if (found := _LINE.match(line))
    )


def layers_of_inspector(text: str) -> dict[str, int]:
    """Precision -> how many layers of the plan have it, from the engine inspector's JSON.

    Of a plan with too little profiling verbosity it holds names only, and none is counted.
    """
    listed = json.loads(text).get("Layers", [])
    return _counted(
        (str(entry.get("LayerType", "")), _first_datatype(entry))
        for entry in listed
        if isinstance(entry, dict)
    )


def _first_datatype(entry: Mapping[str, Any]) -> str:
    for taken in entry.get("Inputs", []):
        if isinstance(taken, dict):
            return str(taken.get("Format/Datatype") or taken.get("Datatype") or "")
    return ""


def _counted(layers: Iterator[tuple[str, str]]) -> dict[str, int]:
    counts = Counter(
        precision
        for kind, datatype in layers
        if kind.lower() not in _MOVING and (precision := _precision(datatype)) is not None
    )
    return dict(counts)


def _precision(datatype: str) -> str | None:
    return next((name for name, word in _WORDS if word.search(datatype)), None)


def shortfall(asked: PlanPrecision, network: Mapping[str, int], layers: Mapping[str, int]) -> str | None:
    """What is missing for a plan to be called ``asked``; None when it is what was asked for.

    A plan in fp32 has nothing else. In fp16 most layers are, since converters keep a few in fp32 for range.
    In int8 some are: those that were left in float may be the most, and TensorRT splits off others.

    Args:
        asked: what the plan was to compute in.
        network: of :func:`network_layers`.
        layers: of the plan; {} where they could not be listed.
    """
    for what, counts in (("network", network), ("plan", layers)):
        total, right = sum(counts.values()), counts.get(asked, 0)
        if total == 0:
            continue
        enough = {"fp32": right == total, "fp16": 2 * right > total, "int8": right > 0}[asked]
        if not enough:
            found = ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))
            return f"the {what}'s layers are {found}"
    return None

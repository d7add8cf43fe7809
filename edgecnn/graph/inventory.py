"""What a model file consists of: operators, stored numbers, and in which precision it multiplies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from onnx import TensorProto

from edgecnn.artifact import SPEC_KEY, external_locations, file_sha256, read_onnx
from edgecnn.graph.index import GraphIndex
from edgecnn.graph.layers import GraphLayer, graph_layers
from edgecnn.graph.shapes import inlined
from edgecnn.graph.storage import stored_bytes

__all__ = ["Inventory", "PrecisionShare", "StoredNumbers", "precision_shares", "take_inventory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNumbers:
    """The constants of one element type: weights, biases, scales, zero points, shapes.

    Attributes:
        dtype: ONNX's name in lower case, such as "float" or "int8".
        tensors: how many there are.
        numbers: that they hold together.
        numbers_share: of all stored numbers, in percent.
        bytes: that these take; numbers of less than 8 bits are packed.
        bytes_share: of the bytes of all constants, in percent.
    """

    dtype: str
    tensors: int
    numbers: int
    numbers_share: float
    bytes: int
    bytes_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionShare:
    """The convolutions and matrix products that are written in one precision.

    Attributes:
        precision: as of :class:`edgecnn.graph.layers.GraphLayer`.
        nodes: how many there are, by operator.
        macs: multiply-accumulates for one image; nodes of unknown shape are left out.
        macs_share: of all of them, in percent; None when there are none.
    """

    precision: str
    nodes: dict[str, int]
    macs: int
    macs_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a model file consists of.

    Attributes:
        bytes: of the model file and its files of external weights.
        sha256: of the content of all of them, in hexadecimal.
        ir_version: ONNX's.
        opsets: domain -> version; "ai.onnx" for the default one.
        producer: the tool that wrote the file, with its version; "" when it does not say.
        metadata: what the file carries besides the graph and edgecnn's spec.
        inputs: "name: type shape" of each real input.
        outputs: likewise.
        operators: operator -> number of nodes, the most frequent first; "domain::name" outside of ONNX's.
        stored: the constants, most bytes first.
        precisions: the convolutions and matrix products, most multiply-accumulates first.
        macs: multiply-accumulates for one image.
        nodes_of_unknown_macs: how many nodes are not in ``macs``, as the file does not tell their shape.
        layers: what :func:`edgecnn.graph.layers.graph_layers` reads.
    """

    bytes: int
    sha256: str
    ir_version: int
    opsets: dict[str, int]
    producer: str
    metadata: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: dict[str, int]
    stored: tuple[StoredNumbers, ...]
    precisions: tuple[PrecisionShare, ...]
    macs: int
    nodes_of_unknown_macs: int
    layers: tuple[GraphLayer, ...]


def take_inventory(path: Path) -> Inventory:
    """Read the model file at ``path`` with its external weights; it needs no spec.

    Raises:
        ArtifactError: no such file, not ONNX, or external weights are missing.
    """
    model = read_onnx(path)
    files = (path, *(path.parent / location for location in _locations(path)))
    layers = graph_layers(model)
    initialised = {tensor.name for tensor in model.graph.initializer}
    return Inventory(
        bytes=sum(file.stat().st_size for file in files),
        sha256=file_sha256(*files),
        ir_version=model.ir_version,
        opsets={opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        metadata={entry.key: entry.value for entry in model.metadata_props if entry.key != SPEC_KEY},
        inputs=tuple(_described(value) for value in model.graph.input if value.name not in initialised),
        outputs=tuple(_described(value) for value in model.graph.output),
        operators=dict(Counter(_operator(node) for node in inlined(model).graph.node).most_common()),
        stored=_stored(model),
        precisions=precision_shares(layers),
        macs=sum(layer.macs or 0 for layer in layers),
        nodes_of_unknown_macs=sum(layer.macs is None for layer in layers),
        layers=layers,
    )


def precision_shares(layers: Sequence[GraphLayer]) -> tuple[PrecisionShare, ...]:
    """How the convolutions and matrix products among ``layers`` are spread over precisions."""
    products = [layer for layer in layers if layer.multiplies]
    total = sum(layer.macs or 0 for layer in products)
    macs: Counter[str] = Counter()
    for layer in products:
        macs[layer.precision] += layer.macs or 0
    return tuple(
        PrecisionShare(
            precision=precision,
            nodes=dict(Counter(layer.op for layer in products if layer.precision == precision)),
            macs=count,
            macs_share=100 * count / total if total else None,
        )
        for precision, count in macs.most_common()
    )


def _locations(path: Path) -> list[str]:
    return external_locations(onnx.load(path, load_external_data=False))


def _described(value: onnx.ValueInfoProto) -> str:
    return f"{value.name}: {onnx.helper.printable_type(value.type)}"


def _operator(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def _stored(model: onnx.ModelProto) -> tuple[StoredNumbers, ...]:
    tensors: Counter[int] = Counter()
    numbers: Counter[int] = Counter()
    for dtype, count in _constants(model):
        tensors[dtype] += 1
        numbers[dtype] += count
    sizes = {dtype: stored_bytes(dtype, count) for dtype, count in numbers.items()}
    return tuple(
        StoredNumbers(
            dtype=TensorProto.DataType.Name(dtype).lower(),
            tensors=tensors[dtype],
            numbers=numbers[dtype],
            numbers_share=100 * numbers[dtype] / max(numbers.total(), 1),
            bytes=size,
            bytes_share=100 * size / max(sum(sizes.values()), 1),
        )
        for dtype, size in sorted(sizes.items(), key=lambda item: item[1], reverse=True)
    )


def _constants(model: onnx.ModelProto) -> Iterator[tuple[int, int]]:
    """Element type and number of elements of each constant."""
    for tensor in GraphIndex(model.graph).constants.values():
        yield tensor.data_type, prod(tensor.dims)

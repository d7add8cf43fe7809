"""What layers read, as the matrix products that they are: means and covariances of their input patches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgecnn.graph.index import GraphIndex, attribute
from edgecnn.quantize.bias_correction import weighted_nodes
from edgecnn.quantize.calibration import float_input, observed
from edgecnn.quantize.sessions import Images, Session, in_batches

__all__ = ["Moments", "measure_moments"]

#: Of every image, so many positions of a layer's output count: neighbours say nearly the same.
_POSITIONS = 400

#: Covariances that are summed up at a time; more layers are another pass over the images.
_BYTES = 300e6

#: Inputs of a layer beyond which its covariance would fill gigabytes: VGG's first product has 25,088.
_MOST_INPUTS = 6000


#: Of sums in float64, generously.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Moments:
    """Of the patches that a layer multiplies with its weights; K numbers per patch, G groups.

    Attributes:
        mean: (G, K) float64.
        covariance: (G, K, K) float64.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


@dataclass(slots=True)
class _Sums:
    count: int
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    def moments(self) -> Moments:
        mean = self.first / self.count
        covariance = self.second / self.count - mean[:, :, np.newaxis] * mean[:, np.newaxis, :]
        # What never varies has a variance of rounding errors, of either sign.
        diagonal = np.einsum("gkk->gk", covariance)
        diagonal += _ROUNDING * np.square(mean).mean(axis=1, keepdims=True)
        return Moments(mean, covariance)


def measure_moments(
    model: onnx.ModelProto, images: Images, *, threads: int
) -> Iterator[tuple[onnx.NodeProto, Moments]]:
    """The layers of ``model`` with the moments of what they read, a few layers at a time.

    Convolutions over two dimensions and products (``weighted_nodes``) count, where their input is computed
    and not too wide; others are left out.

    Args:
        model: in float32.
        images: to run.
        threads: to use.
    """
    index = GraphIndex(model.graph)
    computed = {*float_input(model), *(name for node in model.graph.node for name in node.output)}
    nodes = [node for node in weighted_nodes(index) if node.input[0] in computed and _plain(node, index)]
    for some in _portions(nodes, index):
        sums = _sums(model, some, index, images, threads)
        while some:  # each covariance is freed once it was used
            node = some.pop(0)
            yield node, sums.pop(node.name).moments()


def _plain(node: onnx.NodeProto, index: GraphIndex) -> bool:
    if _shape(node, index)[1] > _MOST_INPUTS:
        return False
    if node.op_type == "Gemm":
        return not attribute(node, "transA", 0)
    return bool(index.constant(node.input[1]).ndim == 4)


def _portions(nodes: Iterable[onnx.NodeProto], index: GraphIndex) -> Iterator[list[onnx.NodeProto]]:
    """``nodes`` in turn, as many as there is room for the covariances of; at least one."""
    some: list[onnx.NodeProto] = []
    room = _BYTES
    for node in nodes:
        groups, patch = _shape(node, index)
        need = 8.0 * groups * patch * patch
        if some and need > room:
            yield some
            some, room = [], _BYTES
        some.append(node)
        room -= need
    if some:
        yield some


def _shape(node: onnx.NodeProto, index: GraphIndex) -> tuple[int, int]:
    """Groups, and numbers per patch."""
    return attribute(node, "group", 1), int(np.prod(index.constant(node.input[1]).shape[1:]))


def _sums(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], index: GraphIndex, images: Images, threads: int
) -> dict[str, _Sums]:
    source = float_input(model)
    inner = list(dict.fromkeys(node.input[0] for node in nodes if node.input[0] not in source))
    session = Session(observed(model, inner), threads=threads)
    found: dict[str, _Sums] = {}
    for batch in in_batches(images):
        values = dict(zip(inner, session.run(batch, inner), strict=True)) | dict.fromkeys(source, batch)
        for node in nodes:
            groups, patch = _shape(node, index)
            if node.name not in found:
                zeros = np.zeros((groups, patch)), np.zeros((groups, patch, patch))
                found[node.name] = _Sums(0, *zeros)
            kernel = index.constant(node.input[1]).shape[2:]
            _add(found[node.name], _patches(values[node.input[0]], node, groups, kernel))
    return found


def _add(sums: _Sums, patches: NDArray[np.float64]) -> None:
    sums.count += patches.shape[1]
    sums.first += patches.sum(axis=1)
    sums.second += patches.transpose(0, 2, 1) @ patches


def _patches(
    values: NDArray[np.float32], node: onnx.NodeProto, groups: int, kernel: Sequence[int]
) -> NDArray[np.float64]:
    """(G, patches, K) of a batch; of a convolution, at positions drawn by a fixed seed."""
    if node.op_type == "Gemm":
        return values.reshape(1, len(values), -1).astype(np.float64)
    (down, along), (tall, wide) = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
    window = ((kernel[0] - 1) * tall + 1, (kernel[1] - 1) * wide + 1)
    padded = np.pad(values, ((0, 0), (0, 0), *_padding(node, values.shape[2:], window, (down, along))))
    every = sliding_window_view(padded, window, axis=(2, 3))[:, :, ::down, ::along, ::tall, ::wide]
    images, channels, height, width = every.shape[:4]
    drawn = np.random.default_rng(0).permutation(height * width)[:_POSITIONS]
    chosen = every[:, :, drawn // width, drawn % width].transpose(1, 0, 2, 3, 4)  # C, N, positions, kernel
    grouped = chosen.reshape(groups, channels // groups, images * len(drawn), -1)
    return grouped.transpose(0, 2, 1, 3).reshape(groups, images * len(drawn), -1).astype(np.float64)


def _padding(
    node: onnx.NodeProto, sizes: Sequence[int], window: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """Before and after each of the two dimensions, as ONNX's Conv defines ``pads`` and ``auto_pad``."""
    automatic = attribute(node, "auto_pad", b"NOTSET")
    if automatic not in (b"SAME_UPPER", b"SAME_LOWER"):
        pads = attribute(node, "pads", [0, 0, 0, 0])
        return [(pads[0], pads[2]), (pads[1], pads[3])]
    found = []
    for size, span, stride in zip(sizes, window, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
        less, more = total // 2, total - total // 2
        found.append((less, more) if automatic == b"SAME_UPPER" else (more, less))
    return found

"""Whether an int8 model answers the same on x86 processors without VNNI.

Without VNNI, ONNX Runtime multiplies uint8 activations with int8 weights by VPMADDUBSW, which adds each two
neighbouring products into 16 bits with saturation (see :mod:`edgecnn.quantize.saturation`). Weights that use
all of int8's range can so be answered wrongly there, and nothing reports it. ONNX Runtime's documentation
("Quantize ONNX models", on data type selection) advises ``reduce_range``, weights of 7 bits, on AVX2 and
AVX512 without VNNI; two products are then at most 2 * 255 * 64 = 32640, which fits.

What is modelled: ONNX Runtime's kernels for convolutions and matrix products, with im2col where the channels
are innermost, pairs along that order, activations with their zero point still in them, and padding that
holds the zero point. Depthwise convolutions (one channel in and out per group) have kernels of their own that
do not use the instruction. Everything else is computed in float32, and sums are exact.

What is not: a Conv whose output is not quantised, which the runtime computes in float; other runtimes, which
may pack in another order; the session option ``session.x64quantprecision``, which avoids the instruction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from edgecnn.artifact import graph_input
from edgecnn.errors import ArtifactError
from edgecnn.graph.values import ValueIndex, attribute_of
from edgecnn.quantize.operators import OPERATORS
from edgecnn.quantize.saturation import can_saturate, exact_product, saturation_excess
from edgecnn.quantize.windows import ConvWindow, depthwise, padded, patches

__all__ = ["Portability", "check_portability", "emulated_scores"]

_DOMAIN = "edgecnn.portability"
_INTEGER_OPERATORS = frozenset({"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"})

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Portability:
    """What saturation of 16-bit sums does to a model, on the images it was tried with.

    Attributes:
        images: how many were tried.
        layers_checked: products of uint8 activations with int8 weights, depthwise ones not counted.
        layers_exempt: depthwise convolutions of such numbers, which do not saturate.
        layers_able: names of those checked whose weights let some input saturate; without one, no image at
            all is answered differently.
        saturating_layers: name and share of the sums of two products that saturated, in percent, of those
            where it happened, in the order of the graph.
        top1_changed: images of which the arg max differs between exact and saturating arithmetic.
        top1_vs_runtime: images of which the arg max differs between exact arithmetic and the scores that a
            runtime gave; None when none were given.
    """

    images: int
    layers_checked: int
    layers_exempt: int
    layers_able: tuple[str, ...]
    saturating_layers: tuple[tuple[str, float], ...]
    top1_changed: int
    top1_vs_runtime: int | None = None

    @property
    def can_saturate(self) -> bool:
        """Whether there is any input that a processor without VNNI answers differently."""
        return bool(self.layers_able)


def check_portability(
    model: onnx.ModelProto, batch: NDArray[np.float32], runtime_scores: Array | None = None
) -> Portability:
    """Run ``model`` in exact integer arithmetic and in that of x86 processors without VNNI.

    Takes about a second per image for a network of 300 million multiply-accumulates on one core; nearly
    nothing when no layer can saturate and no scores are given.

    Args:
        model: quantised, with QuantizeLinear and DequantizeLinear; it is not changed.
        batch: (N, C, H, W), what the model takes.
        runtime_scores: (N, classes) of the same images, to see whether exact arithmetic is what a runtime
            does on this machine.

    Raises:
        ArtifactError: it holds operators on integers (QLinearConv and such) instead.
        ValueError: ``runtime_scores`` is not one row per image, or ``batch`` is no multiple of the batch
            that the model is fixed to.
    """
    if runtime_scores is not None and len(runtime_scores) != len(batch):
        raise ValueError(f"{len(runtime_scores)} rows of scores for {len(batch)} images")
    products = _products(model)
    able = tuple(product.name for product in products if product.able)
    tally = _Tally()
    changed, differing = 0, None
    if able or runtime_scores is not None:
        exact = _arg_max(_scores(model, batch, products, _Exact()))
        if able:
            changed = _differing(exact, _arg_max(_scores(model, batch, products, tally)))
        if runtime_scores is not None:
            differing = _differing(exact, _arg_max(runtime_scores))
    return Portability(
        images=len(batch),
        layers_checked=sum(not product.depthwise for product in products),
        layers_exempt=sum(product.depthwise for product in products),
        layers_able=able,
        saturating_layers=tuple((name, tally.percent(name)) for name in able if tally.saturated[name]),
        top1_changed=changed,
        top1_vs_runtime=differing,
    )


def emulated_scores(
    model: onnx.ModelProto, batch: NDArray[np.float32], *, saturating: bool
) -> NDArray[np.float32]:
    """What ``model`` answers in exact integer arithmetic, or in that of x86 processors without VNNI.

    Args:
        model: quantised, with QuantizeLinear and DequantizeLinear; it is not changed.
        batch: (N, C, H, W), what the model takes.
        saturating: whether sums of two products saturate.

    Returns:
        (N, classes), or as the model's first output is shaped.

    Raises:
        ArtifactError: it holds operators on integers (QLinearConv and such) instead.
        ValueError: ``batch`` is no multiple of the batch that the model is fixed to.
    """
    return _scores(model, batch, _products(model), _Tally() if saturating else _Exact())


class _Exact:
    """Products without saturation."""

    def run(self, product: _Product, activations: Array) -> Array:
        return product.exact(activations)


class _Tally:
    """Products with saturation, and how often it happened, by the names of nodes."""

    def __init__(self) -> None:
        self.saturated: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()

    def run(self, product: _Product, activations: Array) -> Array:
        if not product.able:
            return product.exact(activations)

        def observe(saturated: int, sums: int) -> None:
            self.saturated[product.name] += saturated
            self.sums[product.name] += sums

        return product.saturating(activations, observe)

    def percent(self, name: str) -> float:
        return 100 * self.saturated[name] / self.sums[name]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Product:
    """A convolution or matrix product of uint8 with int8.

    Attributes:
        name: of the node.
        output: the value that it makes.
        source: the uint8 value that it takes.
        window: of a convolution; None for a matrix product.
        transposed: whether a matrix product takes its activations transposed.
        weights: (K, N / groups) int8 per group, rows in the order of the patches.
        zero_point: of the activations.
        weight_zero_points: (N,), of the weights.
        scale: (N,), real units per step of the sums.
        bias: (N,), real.
    """

    name: str
    output: str
    source: str
    window: ConvWindow | None
    transposed: bool
    weights: tuple[NDArray[np.int8], ...]
    zero_point: int
    weight_zero_points: NDArray[np.float64]
    scale: NDArray[np.float64]
    bias: NDArray[np.float64]

    @property
    def depthwise(self) -> bool:
        """Whether each group has one channel in and one out."""
        if self.window is None or self.window.groups == 1:
            return False
        height, width = self.window.kernel
        return self.weights[0].shape == (height * width, 1)

    @property
    def able(self) -> bool:
        """Whether some activations make it saturate."""
        return not self.depthwise and any(can_saturate(weights) for weights in self.weights)

    def exact(self, activations: Array) -> Array:
        """The real output for uint8 ``activations``, in float32."""
        if self.depthwise:
            return self._depthwise(activations)
        return self._apply(activations, exact_product)

    def saturating(self, activations: Array, observe: Callable[[int, int], None]) -> Array:
        """Likewise, without VNNI; ``observe`` is told how many sums of two saturated, of how many."""

        def product(rows: Array, weights: NDArray[np.int8]) -> Array:
            excess, count = saturation_excess(rows, weights)
            observe(count, rows.shape[0] * weights.shape[1] * ((weights.shape[0] + 1) // 2))
            return exact_product(rows, weights) + excess

        return self._apply(activations, product)

    def _apply(self, activations: Array, product: Callable[[Array, NDArray[np.int8]], Array]) -> Array:
        if self.window is None:
            matrix = activations.T if self.transposed else activations
            sums = self._sums(matrix.reshape(-1, matrix.shape[-1]), 0, product)
            return self._real(sums.reshape(*matrix.shape[:-1], -1))
        images = padded(activations, self.window, self.zero_point)
        parts = []
        for group, channels in enumerate(np.split(images, self.window.groups, axis=1)):
            seen = patches(channels, self.window)
            sums = self._sums(seen.reshape(-1, seen.shape[-1]), group, product)
            parts.append(sums.reshape(*seen.shape[:3], -1))
        return np.ascontiguousarray(self._real(np.concatenate(parts, axis=-1)).transpose(0, 3, 1, 2))

    def _sums(self, rows: Array, group: int, product: Callable[[Array, NDArray[np.int8]], Array]) -> Array:
        """Of (activation - its zero point) * (weight - its zero point), multiplied out.

        The runtime multiplies the stored numbers, and corrects for the zero points afterwards.
        """
        weights = self.weights[group]
        size = weights.shape[1]
        zeros = self.weight_zero_points[group * size : (group + 1) * size]
        sums = product(rows, weights) - self.zero_point * weights.sum(axis=0, dtype=np.float64)
        if zeros.any():
            centred = rows.sum(axis=1, dtype=np.float64) - len(weights) * self.zero_point
            sums -= centred[:, None] * zeros
        return np.asarray(sums)

    def _depthwise(self, activations: Array) -> Array:
        assert self.window is not None
        images = padded(activations.astype(np.float32) - self.zero_point, self.window, 0)
        centred = np.stack([weights[:, 0] for weights in self.weights]) - self.weight_zero_points[:, None]
        kernels = centred.astype(np.float32).reshape(-1, *self.window.kernel)
        sums = depthwise(images, kernels, self.window).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(self._real(sums).transpose(0, 3, 1, 2))

    def _real(self, sums: Array) -> Array:
        return np.asarray(sums * self.scale + self.bias, np.float32)


def _require_pairs(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type in _INTEGER_OPERATORS:
            raise ArtifactError(
                f"The model is quantised with operators on integers ({node.op_type} {node.name!r}).",
                "This check reads models with QuantizeLinear and DequantizeLinear, which 'edgecnn quantize' "
                "writes: quantise the float model with it.",
            )


def _scores(
    model: onnx.ModelProto,
    batch: NDArray[np.float32],
    products: Sequence[_Product],
    arithmetic: _Exact | _Tally,
) -> NDArray[np.float32]:
    """The first output for ``batch``, image by image if the model lets it."""
    evaluator = _evaluator(model, products, arithmetic)
    fed = graph_input(model)
    step = fed.shape[0] if isinstance(fed.shape[0], int) and fed.shape[0] > 0 else 1
    if len(batch) % step:
        raise ValueError(f"the model takes {step} images at a time, and there are {len(batch)}")
    names = [model.graph.output[0].name]
    parts = (batch[at : at + step] for at in range(0, len(batch), step))
    scores = [list(evaluator.run(names, {fed.name: part})) for part in parts]
    return np.concatenate([found for (found,) in scores])


def _differing(scores: NDArray[np.int64], others: NDArray[np.int64]) -> int:
    return int(np.count_nonzero(scores != others))


def _arg_max(scores: Array) -> NDArray[np.int64]:
    return np.asarray(scores.reshape(len(scores), -1).argmax(axis=1))


def _evaluator(
    model: onnx.ModelProto, products: Sequence[_Product], arithmetic: _Exact | _Tally
) -> ReferenceEvaluator:
    """ONNX's evaluator with ``products`` in place of their nodes."""
    at = {product.output: index for index, product in enumerate(products)}

    class Product(OpRun):
        op_domain = _DOMAIN

        def _run(self, activations: Array, index: int = 0) -> tuple[Array]:
            return (arithmetic.run(products[index], activations),)

    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    del graph.node[:]
    for node in model.graph.node:
        index = at.get(node.output[0])
        if index is None:
            graph.node.append(node)
        else:
            source = [products[index].source]
            graph.node.append(helper.make_node("Product", source, node.output, domain=_DOMAIN, index=index))
    _drop_unused(graph)
    opsets = [*model.opset_import, helper.make_opsetid(_DOMAIN, 1)]
    changed = helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    return ReferenceEvaluator(changed, new_ops=[*OPERATORS, Product])


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes that make nothing that is used, such as the weights in float."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _products(model: onnx.ModelProto) -> list[_Product]:
    """Every convolution or matrix product of uint8 activations with int8 weights.

    Raises:
        ArtifactError: the model holds operators on integers instead.
    """
    _require_pairs(model)
    index = ValueIndex(model.graph)
    found = (_product(node, index) for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul"))
    return [product for product in found if product is not None]


@dataclass(frozen=True, slots=True)
class _Dequantised:
    """What a DequantizeLinear takes: a value and constants."""

    value: str
    scale: Array
    zero_point: Array
    axis: int


def _product(node: onnx.NodeProto, index: ValueIndex) -> _Product | None:
    """``node`` as a product of uint8 with int8, or None if it is none or something of it is not constant."""
    activations, weights = (_dequantised(name, index) for name in node.input[:2])
    if activations is None or weights is None or activations.scale.size != 1:
        return None
    stored = index.array(weights.value)
    bias = _real_constant(node.input[2], index) if len(node.input) > 2 and node.input[2] else np.zeros(())
    if stored is None or bias is None or activations.value in index.constants:
        return None
    if stored.dtype != np.int8 or activations.zero_point.dtype != np.uint8:
        return None
    return _with_weights(node, activations, weights, stored, bias)


def _with_weights(
    node: onnx.NodeProto, activations: _Dequantised, weights: _Dequantised, stored: Array, bias: Array
) -> _Product | None:
    arranged = _arranged(node, stored)
    transposed = attribute_of(node, "transB", 0) == 1
    along_outputs = 0 if node.op_type == "Conv" or transposed else stored.ndim - 1
    if arranged is None or (weights.scale.size > 1 and weights.axis % stored.ndim != along_outputs):
        return None
    outputs = stored.shape[along_outputs]
    alpha, beta = attribute_of(node, "alpha", 1.0), attribute_of(node, "beta", 1.0)
    unscaled = weights.scale.astype(np.float64).ravel() * float(activations.scale.item())
    return _Product(
        name=node.name or node.output[0],
        output=node.output[0],
        source=activations.value,
        window=ConvWindow.of(node, stored.shape[2:]) if node.op_type == "Conv" else None,
        transposed=attribute_of(node, "transA", 0) == 1,
        weights=arranged,
        zero_point=int(activations.zero_point.item()),
        weight_zero_points=np.broadcast_to(weights.zero_point.astype(np.float64).ravel(), outputs),
        scale=np.broadcast_to(unscaled * alpha, outputs),
        bias=bias * beta,
    )


def _arranged(node: onnx.NodeProto, stored: Array) -> tuple[NDArray[np.int8], ...] | None:
    """The weights as matrices (K, N / groups), one per group; None for what is not covered."""
    if node.op_type == "Conv":
        if stored.ndim != 4:
            return None
        groups = np.split(stored, attribute_of(node, "group", 1))
        return tuple(group.transpose(2, 3, 1, 0).reshape(-1, len(group)) for group in groups)
    if stored.ndim != 2:
        return None
    return (stored.T if attribute_of(node, "transB", 0) else stored,)


def _dequantised(name: str, index: ValueIndex) -> _Dequantised | None:
    """What ``name`` is dequantised from; None if it is not, or if scale or zero point are not constant."""
    maker = index.makers.get(name)
    if maker is None or maker.op_type != "DequantizeLinear" or attribute_of(maker, "block_size", 0):
        return None
    scale = index.array(maker.input[1])
    zero_point = index.array(maker.input[2]) if len(maker.input) > 2 and maker.input[2] else None
    if scale is None or (zero_point is None and len(maker.input) > 2 and maker.input[2]):
        return None
    if zero_point is None:
        stored = index.constants.get(maker.input[0])
        dtype = helper.tensor_dtype_to_np_dtype(stored.data_type if stored else TensorProto.UINT8)
        zero_point = np.zeros((), dtype)
    return _Dequantised(maker.input[0], scale, zero_point, attribute_of(maker, "axis", 1))


def _real_constant(name: str, index: ValueIndex) -> NDArray[np.float64] | None:
    """A constant, dequantised if it is stored so; None if it is none."""
    plain = index.array(name)
    if plain is not None:
        return plain.astype(np.float64)
    found = _dequantised(name, index)
    stored = None if found is None else index.array(found.value)
    if found is None or stored is None:
        return None
    return np.asarray((stored.astype(np.float64) - found.zero_point) * found.scale.astype(np.float64))

"""Whether an int8 model answers the same on x86 processors without VNNI.

Without VNNI, ONNX Runtime multiplies uint8 activations with int8 weights by VPMADDUBSW, which adds each two
neighbouring products into 16 bits with saturation (see :mod:`edgecnn.quantize.saturation`). Weights that use
all of int8's range can so be answered wrongly there, and nothing reports it. ONNX Runtime's documentation
("Quantize ONNX Models", "When and why do I need to try U8U8?") advises ``reduce_range``, weights of 7 bits,
or uint8 weights there; of 7 bits, two products are at most 2 * 255 * 64 = 32640, which fits.

What is modelled: ONNX Runtime's kernels for convolutions and matrix products, with im2col where the channels
are innermost, pairs along that order, activations with their zero point still in them, and padding that
holds the zero point. Depthwise convolutions (one channel in and out per group) have kernels of their own that
do not use the instruction (see ONNX Runtime's ``core/providers/cpu/quantization/qlinearconv.cc``). Everything
else is computed in float32, and sums are exact.

What is not: a Conv whose output is not quantised, which the runtime computes in float; other runtimes, which
may pack in another order; the session option ``session.x64quantprecision``, which avoids the instruction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from edgecnn.artifact import graph_input
from edgecnn.errors import QuantizationError
from edgecnn.quantize.operators import OPERATORS
from edgecnn.quantize.products import IntegerProduct, integer_products

__all__ = ["Portability", "PortabilityUnknown", "check_portability", "emulated_scores"]

_DOMAIN = "edgecnn.portability"

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


@dataclass(frozen=True, slots=True)
class PortabilityUnknown:
    """That it could not be found out.

    Attributes:
        reason: in a sentence.
    """

    reason: str


def check_portability(
    model: onnx.ModelProto, batch: NDArray[np.float32], runtime_scores: Array | None = None
) -> Portability:
    """Run ``model`` in exact integer arithmetic and in that of x86 processors without VNNI.

    MobileNetV2 at 224 x 224 takes about half a second per image on one core; a model of which no layer can
    saturate takes nearly nothing unless scores are given.

    A label that changes need not be wrong: an image on the edge between two classes may fall to either side
    by any difference, however small.

    Args:
        model: quantised, with QuantizeLinear and DequantizeLinear; it is not changed.
        batch: (N, C, H, W), what the model takes.
        runtime_scores: (N, classes) of the same images, to see whether exact arithmetic is what a runtime
            does on this machine.

    Raises:
        ArtifactError: it holds operators on integers (QLinearConv and such) instead.
        QuantizationError: ONNX's evaluator cannot run it.
        ValueError: ``runtime_scores`` is not one row per image, or ``batch`` is no multiple of the batch
            that the model is fixed to.
    """
    if runtime_scores is not None and len(runtime_scores) != len(batch):
        raise ValueError(f"{len(runtime_scores)} rows of scores for {len(batch)} images")
    products = integer_products(model)
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
        QuantizationError: ONNX's evaluator cannot run it.
        ValueError: ``batch`` is no multiple of the batch that the model is fixed to.
    """
    return _scores(model, batch, integer_products(model), _Tally() if saturating else _Exact())


class _Exact:
    """Products without saturation."""

    def run(self, product: IntegerProduct, activations: Array) -> Array:
        return product.exact(activations)


class _Tally:
    """Products with saturation, and how often it happened, by the names of nodes."""

    def __init__(self) -> None:
        self.saturated: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()

    def run(self, product: IntegerProduct, activations: Array) -> Array:
        if not product.able:
            return product.exact(activations)

        def observe(saturated: int, sums: int) -> None:
            self.saturated[product.name] += saturated
            self.sums[product.name] += sums

        return product.saturating(activations, observe)

    def percent(self, name: str) -> float:
        return 100 * self.saturated[name] / self.sums[name]


def _scores(
    model: onnx.ModelProto,
    batch: NDArray[np.float32],
    products: Sequence[IntegerProduct],
    arithmetic: _Exact | _Tally,
) -> NDArray[np.float32]:
    """The first output for ``batch``, image by image if the model lets it."""
    fed = graph_input(model)
    step = fed.shape[0] if isinstance(fed.shape[0], int) and fed.shape[0] > 0 else 1
    if len(batch) % step:
        raise ValueError(f"the model takes {step} images at a time, and there are {len(batch)}")
    names = [model.graph.output[0].name]
    parts = (batch[at : at + step] for at in range(0, len(batch), step))
    try:
        evaluator = _evaluator(model, products, arithmetic)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # nodes in float may overflow
            scores = [list(evaluator.run(names, {fed.name: part})) for part in parts]
    except Exception as error:  # an operator in numpy may fail with anything
        raise QuantizationError(
            f"ONNX's evaluator in numpy cannot run the model: {type(error).__name__}: {error}",
            "Please report it, with the model. Compare the scores on the processor itself: edgecnn validate.",
        ) from error
    return np.concatenate([found for (found,) in scores])


def _differing(scores: NDArray[np.int64], others: NDArray[np.int64]) -> int:
    return int(np.count_nonzero(scores != others))


def _arg_max(scores: Array) -> NDArray[np.int64]:
    return np.asarray(scores.reshape(len(scores), -1).argmax(axis=1))


def _evaluator(
    model: onnx.ModelProto, products: Sequence[IntegerProduct], arithmetic: _Exact | _Tally
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

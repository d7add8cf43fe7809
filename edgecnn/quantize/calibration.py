"""What values a model's activations take on images: histograms and channel statistics, streamed.

Memory does not grow with the number of images: each batch of activations is reduced to histograms of fixed
size and forgotten. Networks with large activations run fewer images at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.shapes import images_per_run, value_types
from edgecnn.quantize.finiteness import require_finite
from edgecnn.quantize.histogram import Histogram
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.sessions import BATCH, Images, Session, in_batches

__all__ = [
    "Calibration",
    "ChannelStatistics",
    "calibrate",
    "float_input",
    "measure_channels",
    "observed",
    "unsettled",
]

#: Of the activations that one run gives out: those of four images in most networks (82 MiB each in
#: EfficientNet-B0), those of one in the largest (617 MiB in B4).
_RUN_BYTES = 512 * 2**20

#: Share of the images between two looks at the ranges, for the convergence figure.
_SHARE_OF_LAST = 0.25

#: Percent; above this, more images would still widen the ranges.
_CONVERGED = 2.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """The activations of a model on calibration images.

    Attributes:
        histograms: value name -> its histogram, the input's included.
        images: how many images went in.
        convergence: by how much, in percent of their width, the last quarter of the images, or the last run
            of several where that is more, widened the
            ranges: the median over all activations. Above a few percent, more images would still change them.
            None where all images went in one run: then it cannot be told.
        not_finite: names of the values that were NaN or infinite, in the order of the graph: those have no
            histogram.
    """

    histograms: dict[str, Histogram]
    images: int
    convergence: float | None
    not_finite: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Of one activation (N, C, ...) over all images and positions.

    Attributes:
        mean: (C,) float64.
        largest: (C,) float64, the largest absolute value.
        rounded_mean: (C,) float64, the mean of what 8 bits hold of it; ``mean`` where no range is known.
    """

    mean: NDArray[np.float64]
    largest: NDArray[np.float64]
    rounded_mean: NDArray[np.float64]


def calibrate(
    model: onnx.ModelProto,
    batches: Iterable[Images],
    expected: int,
    *,
    threads: int,
    keep_float: Collection[str] = (),
) -> Calibration:
    """Histograms of all float activations that ``model`` computes.

    Args:
        model: in float32.
        batches: images as the model takes them; read once, one batch at a time.
        expected: how many images there will be, for the convergence figure.
        threads: to use.
        keep_float: names of the nodes that stay in float: what only they touch may be NaN or infinite.

    Raises:
        QuantizationError: another activation is NaN or infinite; the message names its node.
    """
    names = _float_values(model)
    session = Session(observed(model, names), threads=threads)
    source, size = float_input(model), _images_at_once(model, names)
    histograms: dict[str, Histogram] = {}
    earlier: dict[str, float] = {}
    not_finite: set[str] = set()
    seen = 0
    with ThreadPoolExecutor(threads) as pool:
        for batch in chain.from_iterable(in_batches(batch, size) for batch in batches):
            if not earlier and seen + len(batch) > (1 - _SHARE_OF_LAST) * expected:
                earlier = {name: histogram.high - histogram.low for name, histogram in histograms.items()}
            values = [*([batch] if source else []), *session.run(batch, names)]
            found = pool.map(_histogram, values)
            for name, histogram in zip([*source, *names], found, strict=True):
                if histogram is None:
                    not_finite.add(name)
                else:
                    histograms[name] = histograms[name] + histogram if name in histograms else histogram
            require_finite(model, _in_order(not_finite, [*source, *names]), keep_float)
            seen += len(batch)
    widening = _widening(earlier, histograms)
    for name in not_finite:
        histograms.pop(name, None)  # it has one where only some of the images overflow
    return Calibration(histograms, seen, widening, _in_order(not_finite, [*source, *names]))


def unsettled(convergence: float | None) -> tuple[str, ...]:
    """What to say of a :attr:`Calibration.convergence`: that more images are wanted, or nothing."""
    if convergence is None or convergence <= _CONVERGED:
        return ()
    return (
        f"The last of the calibration images still widened the ranges by {convergence:.1f} %: more images "
        "would change them. Pass more with --calib, or raise --images.",
    )


def _in_order(chosen: Collection[str], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in chosen)


def measure_channels(
    model: onnx.ModelProto,
    names: Iterable[str],
    images: Images,
    *,
    threads: int,
    ranges: Mapping[str, Range] | None = None,
) -> dict[str, ChannelStatistics]:
    """Channel statistics of those of the values ``names`` that nodes compute, and of a float input.

    Values without channels, or whose first dimension is not the batch, have none.

    Args:
        model: in float32.
        names: of values.
        images: to run.
        threads: to use.
        ranges: value name -> range, for the means of what 8 bits hold.
    """
    wanted, source = set(names), float_input(model)
    inner = [name for name in _float_values(model) if name in wanted]
    session = Session(observed(model, inner), threads=threads)
    size = _images_at_once(model, inner)
    sums: dict[str, NDArray[np.float64]] = {}
    rounded: dict[str, NDArray[np.float64]] = {}
    largest: dict[str, NDArray[np.float64]] = {}
    for batch in in_batches(images, size):
        values = [*([batch] if source else []), *session.run(batch, inner)]
        for name, value in zip([*source, *inner], values, strict=True):
            if value.ndim < 2 or len(value) != len(batch):
                continue
            channels = value.reshape(*value.shape[:2], -1)
            sums[name] = sums.get(name, 0) + channels.mean(axis=2, dtype=np.float64).sum(axis=0)
            largest[name] = np.maximum(largest.get(name, 0), np.abs(channels).max(axis=(0, 2)))
            held = channels if ranges is None or name not in ranges else _rounded(channels, ranges[name])
            rounded[name] = rounded.get(name, 0) + held.mean(axis=2, dtype=np.float64).sum(axis=0)
    count = len(images)
    return {
        name: ChannelStatistics(sums[name] / count, largest[name], rounded[name] / count) for name in sums
    }


def _rounded(values: NDArray[np.float32], span: Range) -> NDArray[np.float32]:
    """What an 8-bit activation of that range holds of ``values``."""
    low, high = span
    step = np.float32(max((high - low) / 255, 1e-12))
    zero = np.rint(-low / step)
    levels = np.clip(np.rint(values / step) + zero, 0, 255)
    held: NDArray[np.float32] = (levels - zero) * step
    return held


def _images_at_once(model: onnx.ModelProto, names: Iterable[str]) -> int:
    """Images per run: as many as memory has for the values ``names``, at least what the model is fixed to."""
    types, fixed = value_types(model), images_per_run(model)
    numbers = sum(types[name].elements or 0 for name in names if name in types)
    return max(fixed, min(BATCH, _RUN_BYTES * fixed // max(4 * numbers, 1)))


def float_input(model: onnx.ModelProto) -> list[str]:
    """The input's name, or nothing where it takes pixels as they are."""
    value = model.graph.input[0]
    return [value.name] if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT else []


def _float_values(model: onnx.ModelProto) -> list[str]:
    """What nodes compute in float32, in the order of the graph."""
    inferred = onnx.shape_inference.infer_shapes(model)
    floats = {
        value.name
        for value in (*inferred.graph.value_info, *inferred.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    return [name for node in model.graph.node for name in node.output if name in floats]


def observed(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """A copy of ``model`` that also returns the values ``names``."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    for name in names:
        if name not in present:
            value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            observed.graph.output.append(value)
    return observed


def _histogram(values: NDArray[np.float32]) -> Histogram | None:
    """None for values that are not finite."""
    try:
        return Histogram.of(values)
    except ValueError:
        return None


def _widening(earlier: dict[str, float], histograms: dict[str, Histogram]) -> float | None:
    widths = [(earlier[name], histograms[name].high - histograms[name].low) for name in earlier]
    shares = [100 * (after - before) / after for before, after in widths if after > 0]
    return float(np.median(shares)) if shares else None

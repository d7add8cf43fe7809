"""What activations take on: the same as if all images were run at once, however they are batched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgecnn.errors import QuantizationError
from edgecnn.quantize.calibration import Calibration, calibrate, measure_channels, unsettled
from edgecnn.quantize.histogram import Histogram
from edgecnn.quantize.sessions import Session, in_batches

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]

RNG = np.random.default_rng(8)
IMAGES = RNG.normal(size=(12, 3, 8, 8)).astype(np.float32)
WEIGHTS = {
    "w": RNG.normal(size=(6, 3, 3, 3)).astype(np.float32),
    "depth": RNG.normal(size=(6, 1, 3, 3)).astype(np.float32),
    "dense": RNG.normal(size=(5, 6)).astype(np.float32),
}
NODES = """a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a) c = Conv<group=6>(b, depth)
    p = GlobalAveragePool(c) n = Shape(p) f = Flatten(p) y = Gemm<transB=1>(f, dense)"""


def calibrated(model: onnx.ModelProto, images: Array, size: int, threads: int = 1) -> Calibration:
    return calibrate(model, in_batches(images, size), len(images), threads=threads)


def activations(model: onnx.ModelProto, images: Array) -> dict[str, Array]:
    """By ONNX's evaluator, an implementation of its own."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    names = ["a", "b", "c", "p", "f", "y"]
    del opened.graph.output[:]
    opened.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    found = ReferenceEvaluator(opened).run(None, {"x": images})
    return {"x": images, **{name: np.asarray(value) for name, value in zip(names, found, strict=True)}}


def test_histograms_of_all_float_activations(graph_of: GraphOf) -> None:
    model = graph_of(NODES, WEIGHTS)
    found = calibrated(model, IMAGES, 4)
    expected = {name: Histogram.of(values) for name, values in activations(model, IMAGES).items()}
    assert set(found.histograms) == set(expected), "of floats, not of shapes"
    for name, histogram in expected.items():
        seen = found.histograms[name]
        # Two implementations sum in float32 in different orders.
        assert (seen.low, seen.high) == pytest.approx((histogram.low, histogram.high), rel=1e-5)
        assert seen.counts.sum() == histogram.counts.sum()
        assert np.abs(np.cumsum(seen.counts) - np.cumsum(histogram.counts)).max() <= 3, "values at an edge"
    assert found.images == 12


@pytest.mark.parametrize("size", [1, 5, 12])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_batch_size_and_the_threads_do_not_matter(graph_of: GraphOf, size: int, threads: int) -> None:
    model = graph_of(NODES.replace("y = Gemm<transB=1>(f, dense)", "y = Relu(f)"), WEIGHTS)
    reference = calibrated(model, IMAGES, 4).histograms
    for name, histogram in calibrated(model, IMAGES, size, threads).histograms.items():
        # A convolution computes image by image: bit for bit the same.
        assert (histogram.low, histogram.high) == (reference[name].low, reference[name].high)
        np.testing.assert_array_equal(histogram.counts, reference[name].counts)


def test_images_are_read_once_and_one_batch_at_a_time(graph_of: GraphOf) -> None:
    read = 0

    def batches() -> Iterator[Array]:
        nonlocal read
        for batch in in_batches(IMAGES, 4):
            read += 1
            yield batch

    calibrate(graph_of(NODES, WEIGHTS), batches(), 12, threads=1)
    assert read == 3


@pytest.mark.parametrize(("room", "size"), [(2**29, 4), (2 * 4 * (3 * 6 * 64 + 6 + 6 + 5), 2), (1, 1)])
def test_large_activations_are_measured_of_fewer_images_at_a_time(
    room: int, size: int, graph_of: GraphOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    class Watched(Session):
        def run(self, images: Array, *rest: Any) -> list[Array]:
            sizes.append(len(images))
            return super().run(images, *rest)

    model = graph_of(NODES, WEIGHTS)
    expected = calibrated(model, IMAGES, 4)
    monkeypatch.setattr("edgecnn.quantize.calibration._RUN_BYTES", room)
    monkeypatch.setattr("edgecnn.quantize.calibration.Session", Watched)
    found = calibrated(model, IMAGES, 4)
    assert sizes == [size] * (12 // size)
    assert found.images == 12
    assert all(
        (each.low, each.high) == (expected.histograms[name].low, expected.histograms[name].high)
        for name, each in found.histograms.items()
    )


def test_a_weight_that_is_nan_is_named_by_its_node(graph_of: GraphOf) -> None:
    broken = WEIGHTS["depth"].copy()
    broken[2, 0, 1, 1] = np.nan
    model = graph_of(NODES, WEIGHTS | {"depth": broken})
    with pytest.raises(QuantizationError, match=r"NaN or infinity in 'c', from the node 'c' \(Conv\)"):
        calibrated(model, IMAGES, 4)


def test_the_first_node_that_overflows_is_named(graph_of: GraphOf) -> None:
    model = graph_of(NODES, WEIGHTS | {"w": np.full((6, 3, 3, 3), 3e38, np.float32)})
    with pytest.raises(QuantizationError, match=r"from the node 'a' \(Conv\)"):
        calibrated(model, IMAGES, 4)


def test_an_image_that_is_nan_is_told_from_a_broken_node(graph_of: GraphOf) -> None:
    images = IMAGES.copy()
    images[7, 0, 0, 0] = np.nan
    with pytest.raises(QuantizationError, match="the model's input"):
        calibrated(graph_of(NODES, WEIGHTS), images, 4)


OVERFLOWING = """a = Conv<pads=[1,1,1,1]>(x, w) m = Mul(a, big) e = Exp(m) i = Add(e, big) r = Reciprocal(i)
    b = Add(a, r) p = GlobalAveragePool(b) f = Flatten(p) y = Gemm<transB=1>(f, dense)"""
BIG = WEIGHTS | {"big": np.full((1,), 1e4, np.float32)}


def test_what_only_nodes_in_float_touch_may_overflow(graph_of: GraphOf) -> None:
    model, batches = graph_of(OVERFLOWING, BIG), [IMAGES[:4], IMAGES[4:]]
    found = calibrate(model, batches, 12, threads=1, keep_float={"e", "i", "r"})
    assert found.not_finite == ("e", "i")
    assert set(found.histograms) == {"x", "a", "m", "r", "b", "p", "f", "y"}


@pytest.mark.parametrize("keep_float", [(), ("e",), ("e", "i")])
def test_all_nodes_that_would_have_to_stay_in_float_are_named(
    keep_float: tuple[str, ...], graph_of: GraphOf
) -> None:
    model = graph_of(OVERFLOWING, BIG)
    with pytest.raises(QuantizationError, match=r"NaN or infinity in '[ei]'") as caught:
        calibrate(model, in_batches(IMAGES, 4), 12, threads=1, keep_float=keep_float)
    assert caught.value.remedy.endswith("--keep-float e --keep-float i --keep-float r.")


def test_what_only_some_images_overflow_in_has_no_range(graph_of: GraphOf) -> None:
    quiet = [0 * IMAGES[:4], IMAGES[4:]]
    keep = {"e", "i", "r"}
    found = calibrate(graph_of(OVERFLOWING, BIG), quiet, 12, threads=1, keep_float=keep)
    assert found.not_finite == ("e", "i")
    assert not {"e", "i"} & set(found.histograms)


def test_scores_that_are_not_finite_are_no_matter_of_what_is_kept(graph_of: GraphOf) -> None:
    model = graph_of("a = Conv<pads=[1,1,1,1]>(x, w) m = Mul(a, big) y = Exp(m)", BIG)
    with pytest.raises(QuantizationError, match="NaN or infinity in 'y'") as caught:
        calibrate(model, [IMAGES], 12, threads=1, keep_float={"a", "m", "y"})
    assert "--keep-float" not in caught.value.remedy
    assert "validate" in caught.value.remedy


def test_pixels_have_no_histogram(graph_of: GraphOf) -> None:
    model = graph_of("f = Cast<to=1>(x) a = Conv(f, w) y = Relu(a)", WEIGHTS)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    pixels = RNG.integers(0, 256, (4, 3, 8, 8)).astype(np.uint8)
    assert set(calibrate(model, [pixels], 4, threads=1).histograms) == {"f", "a", "y"}  # type: ignore[list-item]
    found = measure_channels(model, ["x", "f"], pixels, threads=1)  # type: ignore[arg-type]
    assert found["f"].largest.tolist() == pixels.max(axis=(0, 2, 3)).tolist()
    assert "x" not in found


@pytest.mark.parametrize("size", [1, 4])
def test_ranges_that_the_last_quarter_repeats_have_converged(graph_of: GraphOf, size: int) -> None:
    repeated = np.concatenate([IMAGES, IMAGES[:4]])
    assert calibrated(graph_of(NODES, WEIGHTS), repeated, size).convergence == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("size", [1, 4])
def test_ranges_that_the_last_quarter_doubles_have_not(graph_of: GraphOf, size: int) -> None:
    # Without biases, images twice as large have activations twice as large: half of the width is new.
    growing = np.concatenate([np.tile(IMAGES[:4], (3, 1, 1, 1)), 2 * IMAGES[:4]])
    assert calibrated(graph_of(NODES, WEIGHTS), growing, size).convergence == pytest.approx(50, abs=1e-3)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (4, 4), (12, 12)])
def test_one_run_does_not_tell_whether_ranges_have_converged(
    count: int, size: int, graph_of: GraphOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecnn.quantize.calibration.BATCH", size)
    assert calibrated(graph_of(NODES, WEIGHTS), IMAGES[:count], size).convergence is None


@pytest.mark.parametrize("count", [5, 8, 12])
def test_few_images_tell_by_the_last_run(count: int, graph_of: GraphOf) -> None:
    images = IMAGES[:count].copy()
    images[-1] *= 100
    convergence = calibrated(graph_of(NODES, WEIGHTS), images, 4).convergence
    assert convergence is not None
    assert convergence > 90


def test_ranges_that_have_not_converged_are_warned_of() -> None:
    assert unsettled(None) == unsettled(0.0) == unsettled(2.0) == ()
    (warning,) = unsettled(12.5)
    assert "12.5 %" in warning


def test_channels_are_measured_over_all_images_and_positions(graph_of: GraphOf) -> None:
    model = graph_of(NODES, WEIGHTS)
    images = IMAGES[:7]  # the last batch is not full
    found = measure_channels(model, ["c", "b", "x", "f"], images, threads=1)
    for name in ("c", "b", "x", "f"):
        values = activations(model, images)[name].astype(np.float64)
        others = tuple(axis for axis in range(values.ndim) if axis != 1)
        np.testing.assert_allclose(
            found[name].mean, values.mean(axis=others), rtol=1e-4, atol=1e-5
        )  # float32
        np.testing.assert_allclose(found[name].largest, np.abs(values).max(axis=others), rtol=1e-5)


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_values_without_channels_or_batch_are_left_out(graph_of: GraphOf, batch: int | None) -> None:
    nodes = """a = Conv(x, w) top = ReduceMax<keepdims=0>(a, every) one = Div(top, top) b = Mul(a, one)
        s = ReduceSum<keepdims=0>(b, inner) t = Transpose<perm=[1,0,2,3]>(b)
        u = ReduceMax<keepdims=0>(t, inner) v = Transpose(u) r = ReduceMax<keepdims=0>(u, last)
        y = Add(s, r)"""
    axes = {"every": [0, 1, 2, 3], "inner": [2, 3], "last": [1]}
    model = graph_of(nodes, WEIGHTS | {name: np.array(of, np.int64) for name, of in axes.items()})
    if batch is not None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
    asked = [name for node in model.graph.node for name in node.output]
    found = measure_channels(model, asked, IMAGES[:7], threads=1)  # the last batch is not full
    assert set(found) == {"x", "a", "b", "s", "v", "y"}
    # The largest of the images of a run is divided by itself: b is a.
    np.testing.assert_allclose(found["b"].largest, found["a"].largest, rtol=1e-5)
    histograms = calibrated(model, IMAGES, 4).histograms
    assert set(histograms) == set(asked) | {"x"}
    assert (histograms["one"].low, histograms["one"].high) == (1, 1)


def test_only_the_input_may_be_asked_for(graph_of: GraphOf) -> None:
    found = measure_channels(graph_of(NODES, WEIGHTS), ["x"], IMAGES, threads=1)
    np.testing.assert_allclose(found["x"].mean, IMAGES.mean(axis=(0, 2, 3), dtype=np.float64))


def test_the_model_is_not_changed(graph_of: GraphOf) -> None:
    model = graph_of(NODES, WEIGHTS)
    before = model.SerializeToString()
    calibrated(model, IMAGES, 4)
    measure_channels(model, ["b"], IMAGES, threads=1)
    assert model.SerializeToString() == before

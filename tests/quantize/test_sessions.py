"""Models that are fixed to a batch run any number of images."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgecnn.errors import QuantizationError
from edgecnn.quantize.sessions import Session, in_batches


def model(batch: int | str) -> onnx.ModelProto:
    """Sums of each image's pixels, and twice these."""
    graph = onnx.parser.parse_graph(
        f"sums (float[{batch}, 1, 2, 2] x) => (float[{batch}, 4] y, float[{batch}, 4] z)"
        "{ y = Flatten(x) z = Add(y, y) }"
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("batch", ["n", 1, 3, 4, 16])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_any_number_of_images_runs(batch: int | str, count: int) -> None:
    images = np.random.default_rng(0).standard_normal((count, 1, 2, 2)).astype(np.float32)
    session = Session(model(batch), threads=1)
    single, double = session.run(images)
    np.testing.assert_array_equal(single, images.reshape(count, 4))
    np.testing.assert_array_equal(double, 2 * single)
    np.testing.assert_array_equal(session.scores(images), single)


@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_that_belong_to_no_image_are_those_of_every_run(batch: int) -> None:
    graph = onnx.parser.parse_graph(
        f"tops (float[{batch}, 2] x) => (float top, float[2] each)"
        "{ top = ReduceMax<keepdims=0, axes=[0, 1]>(x) each = ReduceMax<keepdims=0, axes=[0]>(x) }"
    )
    tops = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    images = np.arange(12, dtype=np.float32).reshape(6, 2)
    top, each = Session(tops, threads=1).run(images)
    runs = images.reshape(-1, batch, 2)
    np.testing.assert_array_equal(top, runs.max(axis=(1, 2)))
    np.testing.assert_array_equal(each, runs.max(axis=1).ravel())


def test_batches_cover_all_images_in_order() -> None:
    images = np.arange(7, dtype=np.float32).reshape(7, 1, 1, 1)
    assert [piece.ravel().tolist() for piece in in_batches(images, 3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_model_that_the_runtime_refuses() -> None:
    broken = model("n")
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(QuantizationError, match="NoSuchOperator") as caught:
        Session(broken, threads=1)
    assert "edgecnn inspect" in caught.value.remedy


def reshaping(to: str) -> onnx.ModelProto:
    """As :func:`model`, with a Reshape to ``to`` within, and an input of any batch."""
    graph = onnx.parser.parse_graph(
        f"inner (float[n, 1, 2, 2] x) => (float[m, 4] y) <int64[2] shape = {to}> {{ y = Reshape(x, shape) }}"
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def test_a_batch_that_is_fixed_within_the_graph_is_told() -> None:
    session = Session(reshaping("{1, 4}"), threads=1)
    images = np.zeros((4, 1, 2, 2), np.float32)
    assert session.run(images[:1])[0].shape == (1, 4)
    with pytest.raises(QuantizationError, match="takes one image and fails on 4, though its") as caught:
        session.scores(images)
    assert "dynamic batch" in caught.value.remedy


def test_a_model_that_fails_on_anything_says_why() -> None:
    with pytest.raises(QuantizationError, match=r"fails to run the model: .*[Rr]eshape"):
        Session(reshaping("{-1, 3}"), threads=1).run(np.zeros((2, 1, 2, 2), np.float32))

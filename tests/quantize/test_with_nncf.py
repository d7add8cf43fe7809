"""NNCF as a recipe: what images it sees, and models of a fixed batch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgecnn.artifact import graph_input, graph_output
from edgecnn.data.arrays import ArrayImages
from edgecnn.quantize.images import CalibrationImages
from edgecnn.quantize.settings import QuantizeSettings
from edgecnn.quantize.work import Work
from edgecnn.spec import ModelSpec, Preprocess, WeightsId

if find_spec("nncf") is None:  # importorskip would import it, and so report to Intel
    pytest.skip("NNCF is not installed", allow_module_level=True)

from edgecnn.quantize import with_nncf

Export = Callable[[str], onnx.ModelProto]

NETWORK = "lenet5"
CLASSES = tuple(f"class {index}" for index in range(10))


def work_of(model: onnx.ModelProto, count: int) -> Work:
    """The brightness of image i is i % 256."""
    fed = graph_input(model)
    height, width = (int(size) for size in fed.shape[2:])
    spec = ModelSpec(
        network=NETWORK,
        classes=CLASSES,
        input=fed,
        output=graph_output(model),
        preprocess=Preprocess(
            resize=None, crop=(height, width), color="L", divisor=1.0, mean=(0.0,), std=(1.0,)
        ),
        weights=WeightsId(kind="random", name="seed=1"),
    )
    pixels = np.zeros((count, height, width, 3), np.uint8)
    pixels[:] = (np.arange(count) % 256)[:, None, None, None]
    labels = (np.arange(count) % 10).astype(np.int64)
    source = ArrayImages("numbered", None, CLASSES, labels, pixels)
    settings = QuantizeSettings(recipe="nncf", target="openvino")
    images = CalibrationImages(source, labels, spec, threads=1)
    return Work(model, spec, settings, frozenset(), images, lambda _: None)


def fixed(model: onnx.ModelProto, size: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in (copy.graph.input[0], copy.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = size
    return copy


def test_what_it_prepares_is_bounded_and_spread_over_the_source(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[NDArray[np.float32]] = []
    work = work_of(export(NETWORK), 250)

    def prepared(images: CalibrationImages, indices: list[int]) -> NDArray[np.float32]:
        seen.append(original(images, indices))
        return seen[-1]

    original = CalibrationImages._prepared
    monkeypatch.setattr(CalibrationImages, "_prepared", prepared)
    monkeypatch.setattr(with_nncf, "_IMAGES", 5)
    with_nncf.nncf_default(work)
    assert [len(batch) for batch in seen] == [1] * 5
    assert [int(batch.max()) for batch in seen] == [0, 50, 100, 150, 200]


def test_a_fixed_batch(export: Export) -> None:
    model = fixed(export(NETWORK), 4)
    quantised = with_nncf.nncf_default(work_of(model, 12)).model
    assert graph_input(quantised).shape[0] == 4
    assert any(node.op_type == "QuantizeLinear" for node in quantised.graph.node)

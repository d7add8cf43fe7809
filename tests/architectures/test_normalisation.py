"""Normalisation inside the network is the project's one preprocessing, to the last bit."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgecnn.architectures.normalisation import InGraphPreprocess, with_preprocess
from edgecnn.export.exporter import to_onnx
from edgecnn.export.settings import ExportSettings
from edgecnn.preprocess import normalise
from edgecnn.spec import Preprocess

COLOUR = Preprocess(resize=None, crop=(16, 16), in_graph=True)
GREY = Preprocess(resize=None, crop=(16, 16), color="L", mean=(0.1307,), std=(0.3081,), in_graph=True)
CAFFE = Preprocess(
    resize=None, crop=(16, 16), color="BGR", divisor=1, mean=(104, 117, 123), std=(1, 1, 1), in_graph=True
)
FACTOR = st.floats(0.01, 300)


def every_value(channels: int) -> np.ndarray:
    """(2, 16, 16, channels): each of the 256 values in every channel."""
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    return np.stack([np.repeat(values, channels, axis=2), np.repeat(values[::-1], channels, axis=2)])


@pytest.mark.parametrize("preprocess", [COLOUR, GREY, CAFFE], ids=["imagenet", "grey", "caffe"])
def test_equal_to_the_last_bit(preprocess: Preprocess) -> None:
    pixels = every_value(preprocess.channels)
    result = InGraphPreprocess(preprocess)(torch.from_numpy(pixels)).numpy()
    assert result.dtype == np.float32
    assert np.array_equal(result, normalise(pixels, preprocess))


@given(divisor=FACTOR, mean=st.floats(-200, 200), std=FACTOR)
def test_equal_for_any_constants(divisor: float, mean: float, std: float) -> None:
    preprocess = Preprocess(
        resize=None, crop=(16, 16), color="L", divisor=divisor, mean=(mean,), std=(std,), in_graph=True
    )
    pixels = every_value(1)
    result = InGraphPreprocess(preprocess)(torch.from_numpy(pixels)).numpy()
    assert np.array_equal(result, normalise(pixels, preprocess))


@pytest.mark.parametrize("exporter", ["torchscript", pytest.param("dynamo", marks=pytest.mark.slow)])
def test_equal_in_onnx_runtime_at_any_batch_size(exporter: str) -> None:
    settings = ExportSettings(input="uint8", exporter=exporter)  # type: ignore[arg-type]
    model = to_onnx(InGraphPreprocess(COLOUR).eval(), torch.zeros(2, 16, 16, 3, dtype=torch.uint8), settings)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for images in (1, 2, 5):
        pixels = np.concatenate([every_value(3)] * 3)[:images]
        assert np.array_equal(session.run(None, {"input": pixels})[0], normalise(pixels, COLOUR))


def test_the_wrapped_network_keeps_its_weights_and_mode() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 2))
    wrapped = with_preprocess(network.eval(), COLOUR)
    assert not wrapped.training
    pixels = every_value(3)
    expected = network(torch.from_numpy(normalise(pixels, COLOUR)))
    assert torch.equal(wrapped(torch.from_numpy(pixels)), expected)
    assert {id(parameter) for parameter in wrapped.parameters()} == {id(p) for p in network.parameters()}
    assert len(wrapped.state_dict()) == len(network.state_dict())
    assert with_preprocess(network.train(), COLOUR).training


def test_without_preprocessing_in_the_graph_nothing_is_wrapped() -> None:
    network = nn.Identity()
    assert with_preprocess(network, Preprocess(resize=None, crop=(16, 16))) is network

"""The tables that the field's lectures and papers print."""

from __future__ import annotations

import pytest

from edgecnn.cards import find_card
from edgecnn.profile import MAIN_KINDS, Layer, profile_network


def _row(layer: Layer) -> tuple[str, str, int, float, float]:
    """Kind, output size, memory in KB, weights in thousands, MACs in millions: as the lectures print them."""
    size = "x".join(map(str, layer.output_shape))
    return (
        layer.kind,
        size,
        round(layer.activation_bytes / 1024),
        round(layer.weights / 1e3),
        layer.macs / 1e6,
    )


def test_alexnet_is_the_lecture_table() -> None:
    """University of Michigan, EECS 498-007 / 598-005 (Johnson), lecture 8, AlexNet at 227x227.

    "Params (k)" there is without biases for fc6 to fc8 (37,749 = 9216 x 4096 / 1000), and either way for
    the convolutions. The slide prints 145 M for conv4; 13 x 13 x 256 outputs times 384 x 3 x 3 weights are
    149.5 M.
    """
    profile = profile_network(find_card("alexnet"), (227, 227))
    rows = [_row(layer) for layer in profile.layers if layer.kind in MAIN_KINDS]
    expected = [
        ("conv", "64x56x56", 784, 23, 73),
        ("pool", "64x27x27", 182, 0, 0),
        ("conv", "192x27x27", 547, 307, 224),
        ("pool", "192x13x13", 127, 0, 0),
        ("conv", "384x13x13", 254, 664, 112),
        ("conv", "256x13x13", 169, 885, 149.5),
        ("conv", "256x13x13", 169, 590, 100),
        ("pool", "256x6x6", 36, 0, 0),
        ("flatten", "9216", 36, 0, 0),
        ("linear", "4096", 16, 37749, 38),
        ("linear", "4096", 16, 16777, 17),
        ("linear", "1000", 4, 4096, 4),
    ]
    assert [row[:4] for row in rows] == [row[:4] for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert row[4] == pytest.approx(wanted[4], abs=0.5)
    assert round(profile.parameters / 1e6) == 61
    assert round(profile.macs / 1e9, 1) == 0.7
    windows = [layer.window for layer in profile.layers if layer.kind == "conv"]
    assert [(w.kernel[0], w.stride[0], w.padding[0]) for w in windows if w] == [
        (11, 4, 2),
        (5, 1, 2),
        (3, 1, 1),
        (3, 1, 1),
        (3, 1, 1),
    ]


def test_vgg16_has_138_million_parameters_and_15_5_billion_macs() -> None:
    profile = profile_network(find_card("vgg16"))
    assert round(profile.parameters / 1e6) == 138
    assert round(profile.macs / 1e9, 1) == 15.5


def test_the_stem_of_googlenet() -> None:
    """The rows of the lecture's table, each; and their sum, which is not the one printed there.

    Weights: 9.4 + 4.1 + 110.6 = 124 k, as printed. MACs: conv1 118.0 + conv2 12.8 + conv3 346.8 = 477.7 M.
    With one operation for each element that a pooling reads it is 481 M, which is the sum of the slide's own
    rows, 118 + 2 + 13 + 347 + 1. The slide's 418 M is their sum by no count, so no correct table can show it.
    """
    profile = profile_network(find_card("googlenet"))
    stem = [layer for layer in profile.layers if layer.kind in MAIN_KINDS][:5]
    rows = [_row(layer) for layer in stem]
    assert [row[:4] for row in rows] == [
        ("conv", "64x112x112", 3136, 9),
        ("pool", "64x56x56", 784, 0),
        ("conv", "64x56x56", 784, 4),
        ("conv", "192x56x56", 2352, 111),
        ("pool", "192x28x28", 588, 0),
    ]
    assert [round(row[4]) for row in rows] == [118, 0, 13, 347, 0]
    assert round(sum(layer.weights for layer in stem) / 1e3) == 124
    assert sum(layer.macs for layer in stem) / 1e6 == pytest.approx(477.7, abs=0.05)


@pytest.mark.parametrize(
    ("name", "pixels", "jump"),
    [
        # Table of Araujo, Norris and Sim, Distill 2019; the networks there have these layers here, too.
        ("alexnet", 195, 32),
        ("vgg16", 212, 32),
        ("mobilenetv1_100", 315, 32),
        ("inception_v3", 1311, 32),
        pytest.param("inception_v4", 2071, 32, marks=pytest.mark.slow),
        pytest.param("inception_resnet_v2", 3039, 32, marks=pytest.mark.slow),
    ],
)
def test_published_receptive_fields(name: str, pixels: int, jump: int) -> None:
    field = profile_network(find_card(name)).receptive_field
    assert field is not None
    assert field.size == (pixels, pixels)
    assert field.jump == (jump, jump)


def test_every_output_of_lenet_sees_its_whole_input_by_then() -> None:
    last = profile_network(find_card("lenet5")).layers[-1]
    assert last.receptive_field is not None
    assert last.receptive_field.size == (32, 32)

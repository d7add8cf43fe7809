"""Profiles of networks small enough to check by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecnn.cards import all_cards, find_card
from edgecnn.errors import UsageError
from edgecnn.profile import Layer, Profile, ReceptiveField, Window, profile_network


def _profiled(module: nn.Module, size: tuple[int, int] = (16, 20), channels: int = 3) -> Profile:
    return profile_network(module.eval(), size, channels=channels)


def _layers(module: nn.Module, **options: int) -> dict[str, Layer]:
    return {layer.name: layer for layer in _profiled(module, **options).layers}  # type: ignore[arg-type]


def _size(layer: Layer) -> tuple[int, int] | None:
    return layer.receptive_field.size if layer.receptive_field else None


def test_a_convolution() -> None:
    profile = _profiled(nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 2), groups=2), channels=4)
    assert profile.layers == (
        Layer(
            name="",
            kind="conv",
            input_shape=(4, 16, 20),
            output_shape=(6, 8, 20),
            window=Window((3, 5), (2, 1), (1, 2), (1, 1), 2),
            activation_bytes=6 * 8 * 20 * 4,
            weights=6 * 2 * 3 * 5,
            biases=6,
            macs=6 * 8 * 20 * 2 * 3 * 5,
            receptive_field=ReceptiveField((3, 5), (2, 1)),
        ),
    )
    assert profile.parameters == 6 * 2 * 15 + 6
    assert profile.input_shape == (4, 16, 20)


@pytest.mark.parametrize(("padding", "expected"), [("same", (2, 2)), ("valid", (0, 0)), (1, (1, 1))])
def test_padding_by_name_is_shown_in_numbers(padding: str | int, expected: tuple[int, int]) -> None:
    (layer,) = _profiled(nn.Conv2d(3, 2, 3, padding=padding, dilation=2)).layers
    assert layer.window is not None
    assert layer.window.padding == expected
    assert _size(layer) == (5, 5)


class _Functions(nn.Module):
    """Pooling and reshaping without modules, and keyword arguments throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 3, 3, 3))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, weight=self.weight, stride=2, padding=1)
        x = functional.relu(functional.max_pool2d(x, 2))
        x = functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        y: Tensor = self.fc(x.mean((2, 3)))
        return y


def test_functions_outside_modules_are_layers() -> None:
    profile = _profiled(_Functions())
    assert [(layer.name, layer.kind, layer.output_shape) for layer in profile.layers] == [
        ("conv2d", "conv", (8, 8, 10)),
        ("max_pool2d", "pool", (8, 4, 5)),
        ("relu", "activation", (8, 4, 5)),
        ("avg_pool2d", "pool", (8, 4, 5)),
        ("mean", "pool", (8,)),
        ("fc", "linear", (5,)),
    ]
    assert [_size(layer) for layer in profile.layers] == [(3, 3), (5, 5), (5, 5), (13, 13), None, None]
    assert profile.receptive_field == ReceptiveField((13, 13), (4, 4))
    assert profile.macs == 8 * 8 * 10 * 27 + 8 * 5
    assert sum(layer.weights + layer.biases for layer in profile.layers) == profile.parameters
    stored = [8 * 80 * 4, 8 * 20 * 4, 8 * 20 * 4, 8 * 4, 5 * 4]
    assert (profile.activation_bytes, profile.peak_activation_bytes) == (sum(stored), max(stored))


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.long = nn.Sequential(
            nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 5, padding=2)
        )
        self.short = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        # The short branch runs last: its field must not be taken for the network's.
        long = self.long(x)
        result: Tensor = torch.cat([long + self.short(x), x], dim=1)
        return result


def test_a_branch_counts_by_its_longest_path() -> None:
    layers = _layers(_Residual())
    assert _size(layers["long.2"]) == (7, 7)
    assert _size(layers["short"]) == (1, 1)
    assert (layers["add"].kind, _size(layers["add"])) == ("add", (7, 7))
    assert (layers["cat"].kind, layers["cat"].output_shape) == ("concat", (6, 16, 20))
    assert _profiled(_Residual()).receptive_field == ReceptiveField((7, 7))


class _Gate(nn.Module):
    """Squeeze and excitation, a trained scale, and a shared layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.excite = nn.Conv2d(3, 3, 1)
        self.layer_scale = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.conv(x))
        x = x * self.excite(self.squeeze(x)).sigmoid()
        return self.layer_scale * x * 2


def test_a_gate_does_not_widen_the_field_that_it_gates() -> None:
    layers = _layers(_Gate())
    assert _size(layers["squeeze"]) is None
    assert _size(layers["excite"]) is None
    assert _size(layers["mul"]) == (5, 5)


def test_parameters_are_counted_once_and_where_they_are_used() -> None:
    profile = _profiled(_Gate())
    first, second = (layer for layer in profile.layers if layer.name == "conv")
    assert (first.weights, first.biases) == (81, 3)
    assert (second.weights, second.biases) == (0, 0)
    assert second.macs == first.macs
    scales = [layer for layer in profile.layers if layer.kind == "scale"]
    assert [(layer.weights, layer.biases) for layer in scales] == [(3, 0)]
    assert sum(layer.weights + layer.biases for layer in profile.layers) == profile.parameters


def test_a_linear_layer_at_every_position_keeps_the_field() -> None:
    class Pointwise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.fc(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return result

    layer = _layers(Pointwise())["fc"]
    assert layer.macs == 14 * 18 * 4 * 6
    assert _size(layer) == (3, 3)


def test_slices_and_padding_move_the_map_and_not_the_field() -> None:
    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.conv(functional.pad(x[:, :, ::2, 1:], (1, 1, 1, 1)))
            return result

    layer = _layers(Sliced())["conv"]
    assert layer.output_shape == (3, 8, 19)
    assert _size(layer) == (3, 3)


def test_pooling_over_channels_is_no_pooling_of_the_image() -> None:
    layers = _layers(nn.Sequential(nn.Conv2d(3, 8, 3), nn.LocalResponseNorm(5)))
    assert (layers["1"].kind, _size(layers["1"])) == ("norm", (3, 3))
    norm = [layer for layer in profile_network(find_card("zfnet")).layers if layer.name == "features.3"]
    assert [(layer.kind, _size(layer)) for layer in norm] == [("norm", (11, 11))]


def test_an_adaptive_pooling_that_changes_nothing_is_no_layer() -> None:
    assert set(_layers(nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d((14, 18))))) == {"0"}


def test_trained_pooling_is_one_layer_with_its_parameters() -> None:
    layers = {layer.name: layer for layer in profile_network(find_card("lenet5")).layers}
    pool = layers["s2"]
    assert (pool.kind, pool.weights, pool.biases) == ("pool", 6, 6)
    assert pool.window == Window((2, 2), (2, 2))


class _OwnScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x / self.weight).clone()


def test_a_module_with_parameters_and_no_known_function_is_a_scale() -> None:
    (layer,) = _profiled(nn.Sequential(_OwnScale())).layers
    assert (layer.kind, layer.weights, layer.name) == ("scale", 3, "0")


def test_a_module_that_does_nothing_of_note_is_no_layer() -> None:
    class Shuffle(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(1, 3, -1).transpose(1, 2).contiguous()

    assert _profiled(Shuffle()).layers == ()
    assert _profiled(Shuffle()).receptive_field is None


def test_profiling_changes_nothing_in_the_module() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    random = torch.get_rng_state()
    _profiled(module)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert module(torch.zeros(1, 3, 8, 8)).shape == (1, 144)


@pytest.mark.parametrize(("name", "size"), [("alexnet", (30, 30)), ("lenet5", (64, 40)), ("vgg11", (31, 31))])
def test_a_size_that_the_network_does_not_take(name: str, size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=f"{name} does not take an image of {size[0]}x{size[1]}") as caught:
        profile_network(find_card(name), size)
    assert "known to take" in caught.value.remedy


def test_a_module_that_leaves_nothing_of_the_image() -> None:
    class Cropped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(x[:, :, 30:])

    with pytest.raises(UsageError, match="nothing would be left") as caught:
        _profiled(Cropped())
    assert "larger" in caught.value.remedy


def test_a_module_does_not_know_its_size() -> None:
    with pytest.raises(UsageError, match="input size"):
        profile_network(nn.ReLU())


@pytest.mark.slow
@pytest.mark.no_cover  # it would double the time, and the small networks above cover all of it
def test_all_networks_cost_what_their_cards_say() -> None:
    for card in all_cards():
        profile = profile_network(card)
        assert (profile.parameters, profile.macs) == (card.parameters, card.macs), card.name
        assert sum(layer.weights + layer.biases for layer in profile.layers) == card.parameters, card.name
        assert profile.receptive_field is not None
        assert profile.layers[-1].output_shape == (len(card.classes),), card.name


@pytest.mark.slow
@pytest.mark.no_cover  # it would double the time, and the small networks above cover all of it
def test_all_networks_can_be_profiled_at_their_smallest_size() -> None:
    for card in all_cards():
        assert profile_network(card, card.smallest).macs <= card.macs, card.name

"""Whether tensors are the state of a network, and for how many classes."""

from __future__ import annotations

import pytest
import torch

from edgecnn.cards import all_cards, find_card
from edgecnn.errors import WeightsError
from edgecnn.weights import build_module, head_keys
from edgecnn.weights.fit import classes_in, require_fit, translated


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("mobilenet_v2", ("classifier.1.weight", "classifier.1.bias")),
        ("squeezenet1_1", ("classifier.1.weight", "classifier.1.bias")),
        ("cifar_nin", ("features.6.4.weight", "features.6.4.bias")),
        ("cifar_resnet20", ("linear.weight", "linear.bias")),
    ],
)
def test_the_head_is_found_whatever_its_kind(name: str, keys: tuple[str, ...]) -> None:
    assert head_keys(find_card(name)) == keys


@pytest.mark.slow
@pytest.mark.no_cover  # it would double the time
def test_every_network_has_a_head() -> None:
    for card in all_cards():
        assert len(head_keys(card)) == 2, card.name


@pytest.mark.parametrize("classes", [1, 2, 5, 7, 1000])
def test_the_number_of_classes_is_read_off_the_head(classes: int) -> None:
    card = find_card("squeezenet1_1")
    state = build_module(card, classes).state_dict()
    assert classes_in(state, card) == classes
    require_fit(state, card, classes, origin="file")


def test_without_a_head_there_is_no_number_of_classes() -> None:
    card = find_card("cifar_resnet20")
    assert classes_in({"conv1.weight": torch.ones(1)}, card) is None
    assert classes_in({"linear.weight": torch.tensor(1.0)}, card) is None


def test_a_mismatch_lists_ten_of_each_sort() -> None:
    card = find_card("cifar_resnet20")
    state = dict(build_module(card, 10).state_dict())
    for name in list(state)[:12]:
        del state[name]
    state.update({f"extra{index}": torch.ones(1) for index in range(11)})
    state["linear.weight"] = torch.ones(10, 63)
    with pytest.raises(WeightsError) as caught:
        require_fit(state, card, 10, origin="some.pth")
    missing, unexpected, shapes = caught.value.problem.splitlines()[1:]
    assert "some.pth does not fit cifar_resnet20 with 10 classes" in caught.value.problem
    assert missing.startswith("  12 missing: conv1.weight, ")
    assert missing.endswith("and 2 more")
    assert unexpected.startswith("  11 unexpected: extra0, ")
    assert unexpected.endswith("and 1 more")
    assert shapes == "  1 of another shape: linear.weight [10, 63] instead of [10, 64]"
    assert "Nothing was loaded" in caught.value.remedy


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    card = find_card("cifar_resnet20")
    state = dict(build_module(card, 10).state_dict())
    state["bn1.running_var"] = torch.full((16,), value)
    with pytest.raises(WeightsError, match=r"not finite:\n  1 such: bn1\.running_var"):
        require_fit(state, card, 10, origin="some.pth")


def test_old_names_of_densenet_are_translated() -> None:
    card = find_card("densenet121")
    state = build_module(card, 4).state_dict()
    old = {
        name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    new = translated(old, card, 4)
    assert new.keys() == state.keys()
    require_fit(new, card, 4, origin="old.pth")


def test_auxiliary_heads_are_left_out_of_networks_that_have_them_only() -> None:
    extra = {"aux1.conv.weight": torch.ones(1), "AuxLogits.fc.weight": torch.ones(1)}
    assert "aux1.conv.weight" not in translated(extra, find_card("googlenet"), 4)
    assert "AuxLogits.fc.weight" not in translated(extra, find_card("inception_v3"), 4)
    assert "aux1.conv.weight" in translated(extra, find_card("cifar_resnet20"), 4)

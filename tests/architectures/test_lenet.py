"""LeNet-5 is the paper's, up to its last layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from edgecnn.architectures.lenet import C3_INPUTS, LeNet5, ScaledTanh, Subsampling, TableConvolution, lenet5


def test_trained_parameters_are_the_papers(parameters: Callable[[nn.Module], int]) -> None:
    network = LeNet5(10)
    layers = ("c1", "s2", "c3", "s4", "c5", "f6")
    counts = {name: parameters(network.get_submodule(name)) for name in layers}
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164}
    assert sum(counts.values()) == 60_000
    assert parameters(network) == 60_000 + 84 * 10 + 10


def test_table_one_of_the_paper() -> None:
    assert [len(maps) for maps in C3_INPUTS] == [3] * 6 + [4] * 9 + [6]
    assert len(set(C3_INPUTS)) == 16
    # Each row of the table has ten crosses.
    assert [sum(row in maps for maps in C3_INPUTS) for row in range(6)] == [10] * 6


def test_c3_reads_only_the_maps_of_the_table() -> None:
    torch.manual_seed(0)
    convolution = TableConvolution(C3_INPUTS)
    x = torch.randn(1, 6, 14, 14)
    before = convolution(x)
    assert before.shape == (1, 16, 10, 10)
    for row in range(6):
        changed = x.clone()
        changed[:, row] += 1
        moved = (convolution(changed) != before).flatten(2).any(dim=2)[0]
        assert moved.tolist() == [row in maps for maps in C3_INPUTS]


def test_subsampling_averages_scales_and_shifts() -> None:
    layer = Subsampling(2)
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).expand(1, 2, 2, 2)
    assert layer(x).flatten().tolist() == [3.0, 3.0]
    nn.init.constant_(layer.weight, 2.0)
    nn.init.constant_(layer.bias, -1.0)
    assert layer(x).flatten().tolist() == [5.0, 5.0]


def test_squashing_function_passes_through_plus_and_minus_one() -> None:
    """The property that the paper chose the constants for (appendix A); 1.7159 has five digits."""
    assert ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0])).tolist() == pytest.approx([-1, 0, 1], abs=1e-4)


def test_logits_for_any_batch_and_classes() -> None:
    assert lenet5(classes=7)(torch.zeros(3, 1, 32, 32)).shape == (3, 7)


def test_signal_reaches_the_logits() -> None:
    """A random start must tell images apart, or training does not get going."""
    torch.manual_seed(0)
    logits = lenet5()(torch.randn(64, 1, 32, 32))
    assert logits.std(dim=0).min() > 0.05


def test_it_learns() -> None:
    torch.manual_seed(0)
    network, images, labels = lenet5(), torch.randn(20, 1, 32, 32), torch.arange(20) % 10
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(25):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert (network(images).argmax(1) == labels).float().mean() == 1

"""The arithmetic of windows and receptive fields."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from edgecnn.profile import ReceptiveField, Window
from edgecnn.profile.receptive import join
from edgecnn.profile.window import adaptive_window


def test_two_convolutions_of_three_see_as_much_as_one_of_five() -> None:
    three = Window((3, 3))
    assert ReceptiveField().through(three).through(three) == ReceptiveField().through(Window((5, 5)))


def test_stride_and_dilation_widen_what_comes_after() -> None:
    field = ReceptiveField().through(Window((7, 1), stride=(2, 1))).through(Window((3, 3), dilation=(2, 3)))
    assert field == ReceptiveField((7 + 2 * 2 * 2, 1 + 2 * 3), (2, 1))


def test_branches_join_to_the_largest_in_each_direction() -> None:
    tall, wide = ReceptiveField((7, 1), (2, 2)), ReceptiveField((1, 5), (2, 2))
    assert join([tall, wide]) == ReceptiveField((7, 5), (2, 2))


def test_the_whole_image_counts_only_alone() -> None:
    local = ReceptiveField((3, 3))
    assert join([local, None]) == local
    assert join([None, None]) is None


@given(st.integers(1, 40), st.integers(1, 12))
def test_an_adaptive_window_is_as_large_as_the_largest_that_torch_uses(source: int, target: int) -> None:
    window = adaptive_window((source, 1), (target, 1))
    # The gradient of one output with respect to the inputs marks what it reads.
    line = torch.zeros(1, 1, source, requires_grad=True)
    outputs = functional.adaptive_avg_pool1d(line, target)[0, 0]
    read = [int((torch.autograd.grad(output, line, retain_graph=True)[0] != 0).sum()) for output in outputs]
    assert window.kernel == (max(read), 1)
    assert window.stride == (max(1, source // target), 1)


@pytest.mark.parametrize(("source", "target", "kernel"), [(6, 6, 1), (7, 1, 7), (13, 6, 3)])
def test_known_adaptive_windows(source: int, target: int, kernel: int) -> None:
    assert adaptive_window((source, source), (target, target)).kernel == (kernel, kernel)

"""Settings of a training run: what is refused, and what follows from what."""

from __future__ import annotations

from typing import Any

import pytest

from edgecnn.errors import UsageError
from edgecnn.train.settings import OptimizerName, TrainSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 1},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"warmup_epochs": -0.5},
        {"label_smoothing": 1.0},
        {"ema": 1.0},
        {"patience": 0},
        {"threads": 0},
        {"seed": -1},
    ],
)
def test_values_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    (name, value) = next(iter(wrong.items()))
    with pytest.raises(UsageError) as caught:
        TrainSettings(**{"epochs": 1, **wrong})
    assert caught.value.problem == f"--{name.replace('_', '-')} {value} is out of range."


@pytest.mark.parametrize("layers", ["head", "last"])
def test_a_random_body_cannot_be_kept(layers: Any) -> None:
    with pytest.raises(UsageError, match="--train-layers"):
        TrainSettings(epochs=1, weights="random", layers=layers)


def test_trained_weights_move_in_smaller_steps_than_random_ones() -> None:
    names: tuple[OptimizerName, ...] = ("sgd", "adamw")
    for optimizer in names:
        fresh = TrainSettings(epochs=1, weights="random", optimizer=optimizer)
        tuned = TrainSettings(epochs=1, optimizer=optimizer)
        head = TrainSettings(epochs=1, optimizer=optimizer, layers="head")
        assert tuned.peak_lr < fresh.peak_lr == head.peak_lr


def test_what_the_user_says_is_used() -> None:
    settings = TrainSettings(epochs=1, lr=0.3, weight_decay=0.0)
    assert (settings.peak_lr, settings.decay) == (0.3, 0.0)

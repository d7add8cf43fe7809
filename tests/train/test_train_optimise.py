"""The optimizer's groups, the learning rate's course and the weights' average."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edgecnn.train.optimise import make_average, make_optimizer, make_schedule
from edgecnn.train.settings import TrainSettings


def _module() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_norms_and_biases_do_not_decay(name: str) -> None:
    module = _module()
    settings = TrainSettings(epochs=1, optimizer=name, weight_decay=0.1)  # type: ignore[arg-type]
    decay = {
        id(parameter): group["weight_decay"]
        for group in make_optimizer(module, settings).param_groups
        for parameter in group["params"]
    }
    assert {key: decay[id(value)] for key, value in module.named_parameters()} == {
        "0.weight": 0.1,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "3.weight": 0.1,
        "3.bias": 0.0,
    }


def test_frozen_parameters_are_left_out() -> None:
    module = _module()
    for parameter in list(module.parameters())[:-1]:
        parameter.requires_grad_(False)
    groups = make_optimizer(module, TrainSettings(epochs=1)).param_groups
    assert [[tuple(p.shape) for p in group["params"]] for group in groups] == [[(2,)]]


def test_sgd_without_momentum_is_plain() -> None:
    optimizer = make_optimizer(_module(), TrainSettings(epochs=1, optimizer="sgd", momentum=0.0))
    assert not optimizer.param_groups[0]["nesterov"]


def _rates(settings: TrainSettings, steps_per_epoch: int) -> list[float]:
    optimizer = make_optimizer(_module(), settings)
    schedule = make_schedule(optimizer, settings, steps_per_epoch)
    rates = []
    for _ in range(settings.epochs * steps_per_epoch):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*rates, optimizer.param_groups[0]["lr"]]


def test_the_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    rates = _rates(TrainSettings(epochs=3, lr=2.0, warmup_epochs=1), 10)
    rise = [2.0 * (0.01 + 0.99 * step / 10) for step in range(10)]
    fall = [1.0 + math.cos(math.pi * step / 20) for step in range(21)]
    assert rates == pytest.approx(rise + fall, abs=1e-9)


def test_no_warmup_starts_at_the_peak() -> None:
    assert _rates(TrainSettings(epochs=2, lr=2.0, warmup_epochs=0), 5)[0] == 2.0


def test_a_warmup_longer_than_the_run_ends_in_its_last_step() -> None:
    rates = _rates(TrainSettings(epochs=1, lr=2.0, warmup_epochs=9), 4)
    assert rates[3] == pytest.approx(2.0)


def test_the_average_follows_parameters_and_statistics() -> None:
    module = nn.BatchNorm1d(1)
    average = make_average(module, decay=0.5)
    expected = 0.0
    for step in range(6):
        with torch.no_grad():
            module.bias.fill_(step + 1.0)
            module.running_mean.fill_(step + 1.0)  # type: ignore[union-attr]
        average.update_parameters(module)
        decay = 0.0 if step == 0 else min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1)
    state = average.module.state_dict()
    assert state["bias"].item() == pytest.approx(expected)
    assert state["running_mean"].item() == pytest.approx(expected)

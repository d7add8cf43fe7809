"""Whole runs on tiny data: what is learnt, what is written, and what survives an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgecnn.cards import find_card
from edgecnn.checkpoint import load_checkpoint
from edgecnn.data import Selection
from edgecnn.data.arrays import ArrayImages
from edgecnn.errors import TrainingError, UsageError, WeightsError
from edgecnn.preprocess import crop, normalise
from edgecnn.train import loop
from edgecnn.train.curve import draw_curve
from edgecnn.train.evaluate import Score
from edgecnn.train.learner import Learner
from edgecnn.train.loop import train_network
from edgecnn.train.result import EpochRecord, TrainResult, best_epoch
from edgecnn.train.settings import TrainSettings
from edgecnn.train.sources import TrainData
from edgecnn.weights import load_network

LENET = TrainSettings(epochs=3, weights="random", batch_size=8, lr=0.01, augment="none")
#: Everything that has a state: momentum, statistics of batch normalisation, an average, random changes.
RESNET = TrainSettings(
    epochs=3, weights="random", batch_size=7, optimizer="sgd", lr=0.05, ema=0.9, augment="cutmix", patience=9
)


def _state(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path).state_dict


def _equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def _numbers(result: TrainResult) -> list[tuple[float, ...]]:
    """The history without what a clock measured."""
    return [(r.epoch, r.train_loss, r.val_loss, r.val_top1, r.lr) for r in result.history]


def test_it_learns_and_writes_what_it_says(tmp_path: Path, data: TrainData, observer: Any) -> None:
    output = tmp_path / "new" / "net.pt"
    result = train_network(find_card("lenet5"), replace(LENET, epochs=6), data, output, observer)
    assert result.best_top1 > 90
    assert result.best_top1_ci95[0] < result.best_top1 <= result.best_top1_ci95[1]
    assert (result.network, result.classes, result.epochs) == ("lenet5", 3, 6)
    assert (result.n_train, result.n_val) == (24, 12)
    assert observer.images == 6 * 24
    assert observer.records == list(result.history)
    assert observer.best[-1] == result.best_epoch
    assert sorted(path.name for path in output.parent.iterdir()) == ["net.curve.png", "net.pt"]


@pytest.mark.slow
def test_the_accuracy_is_that_of_the_deployed_network(tmp_path: Path, data: TrainData, observer: Any) -> None:
    card, output = find_card("cifar_resnet20"), tmp_path / "net.pt"
    result = train_network(card, replace(RESNET, epochs=1), data, output, observer)
    network = load_network(card, str(output))
    assert network.classes == data.train.classes
    images = [crop(data.val.image(i), network.preprocess) for i in range(len(data.val))]
    batch = torch.from_numpy(np.stack([normalise(image, network.preprocess) for image in images]))
    with torch.inference_mode():
        right = (network.module(batch).argmax(1).numpy() == data.val.labels).sum()
    assert 100 * right / len(data.val) == result.best_top1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network(tmp_path: Path, data: TrainData, recorder: Any) -> None:
    card = find_card("lenet5")
    settings = replace(LENET, augment="mixup", epochs=2)
    paths = [tmp_path / f"{index}.pt" for index in range(3)]
    seeds = (1, 1, 2)
    before = torch.get_rng_state()
    results = [
        train_network(card, replace(settings, seed=seed), data, path, recorder())
        for path, seed in zip(paths, seeds, strict=True)
    ]
    assert torch.equal(before, torch.get_rng_state())
    assert _numbers(results[0]) == _numbers(results[1]) != _numbers(results[2])
    assert _equal(_state(paths[0]), _state(paths[1]))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_resumed_run_is_the_uninterrupted_one(
    optimizer: Any, tmp_path: Path, data: TrainData, recorder: Any
) -> None:
    card, settings = find_card("cifar_resnet20"), replace(RESNET, optimizer=optimizer)
    whole = train_network(card, settings, data, tmp_path / "whole.pt", recorder())
    output = tmp_path / "parts.pt"
    for epoch in (2, 1):
        with pytest.raises(KeyboardInterrupt):
            train_network(card, settings, data, output, recorder(epoch), resume=epoch == 1)
        assert (tmp_path / "parts.last.pt").is_file()
        assert (tmp_path / "parts.curve.png").is_file()
        assert load_checkpoint(output).progress["epoch"] == 1
    observer = recorder()
    parts = train_network(card, settings, data, output, observer, resume=True)
    assert _numbers(parts) == _numbers(whole)
    assert _equal(_state(output), _state(tmp_path / "whole.pt"))
    assert observer.images == settings.epochs * len(data.train)
    assert not (tmp_path / "parts.last.pt").exists()


@pytest.mark.slow
def test_only_the_same_run_is_resumed(tmp_path: Path, data: TrainData, recorder: Any) -> None:
    card, output = find_card("lenet5"), tmp_path / "net.pt"
    with pytest.raises(KeyboardInterrupt):
        train_network(card, LENET, data, output, recorder(2))
    with pytest.raises(TrainingError, match=r"epochs was 3 and is 9; lr was 0\.01 and is 0\.02"):
        train_network(card, replace(LENET, lr=0.02, epochs=9), data, output, recorder(), resume=True)
    fewer = TrainData(data.train, Selection(data.val, np.arange(9), "fewer"))
    with pytest.raises(TrainingError, match="labels are not the same"):
        train_network(card, LENET, fewer, output, recorder(), resume=True)
    (tmp_path / "net.last.pt").write_bytes(output.read_bytes())
    with pytest.raises(TrainingError, match="no state of a run"):
        train_network(card, LENET, data, output, recorder(), resume=True)
    output.unlink()
    with pytest.raises(TrainingError, match=r"best checkpoint, .*net\.pt, is missing"):
        train_network(card, LENET, data, output, recorder(), resume=True)


def test_nothing_to_resume(tmp_path: Path, data: TrainData, observer: Any) -> None:
    with pytest.raises(TrainingError, match="nothing to resume"):
        train_network(find_card("lenet5"), LENET, data, tmp_path / "net.pt", observer, resume=True)


@pytest.mark.slow
def test_head_only_keeps_the_body_bit_for_bit(tmp_path: Path, data: TrainData, recorder: Any) -> None:
    card, given, tuned = find_card("cifar_resnet20"), tmp_path / "given.pt", tmp_path / "tuned.pt"
    train_network(card, replace(RESNET, epochs=1), data, given, recorder())
    settings = replace(RESNET, epochs=1, weights=str(given), layers="head", ema=None)
    train_network(card, settings, data, tuned, recorder())
    before, after = _state(given), _state(tuned)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"linear.weight", "linear.bias"}


@pytest.mark.slow
def test_training_stops_when_nothing_gets_better(
    tmp_path: Path, data: TrainData, observer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = _scripted(monkeypatch, [50.0, 60.0, 60.0, 55.0, 70.0])
    settings = replace(LENET, epochs=9, patience=2)
    result = train_network(find_card("lenet5"), settings, data, tmp_path / "net.pt", observer)
    assert next(scores) == 70.0
    assert (result.epochs, result.best_epoch, observer.best) == (4, 2, [1, 2])
    assert load_checkpoint(tmp_path / "net.pt").progress["epoch"] == 2


def _scripted(monkeypatch: pytest.MonkeyPatch, top1: list[float]) -> Iterator[float]:
    scores = iter(top1)
    monkeypatch.setattr(loop, "evaluate", lambda *_: Score(1.0, next(scores)))
    return scores


@pytest.mark.slow
def test_equal_accuracy_is_decided_by_the_loss(tmp_path: Path, data: TrainData, observer: Any) -> None:
    settings = replace(LENET, epochs=2)
    first, second = train_network(find_card("lenet5"), settings, data, tmp_path / "n.pt", observer).history
    equal = replace(second, val_top1=first.val_top1, val_loss=first.val_loss - 0.1)
    assert best_epoch((first, equal)) is equal
    assert best_epoch((first, replace(equal, val_loss=first.val_loss))) is first


def test_a_diverging_run_says_what_to_do(tmp_path: Path, data: TrainData, observer: Any) -> None:
    settings = replace(RESNET, lr=1e30, warmup_epochs=0, ema=None)
    with pytest.raises(TrainingError, match=r"The loss became (nan|inf)") as caught:
        train_network(find_card("cifar_resnet20"), settings, data, tmp_path / "net.pt", observer)
    assert "--lr 1e+29" in caught.value.remedy


@pytest.mark.slow
def test_a_last_batch_of_one_image_is_left_out(
    tmp_path: Path, bars: Callable[..., ArrayImages], observer: Any
) -> None:
    # With one value per channel, batch normalisation of a 1x1 map would raise.
    data = TrainData(bars(3), bars(1, seed=1, name="val"))
    settings = replace(RESNET, batch_size=8, epochs=1)
    train_network(find_card("cifar_resnet20"), settings, data, tmp_path / "net.pt", observer)
    assert observer.images == 8


def test_a_size_that_the_network_does_not_take(tmp_path: Path, data: TrainData, observer: Any) -> None:
    with pytest.raises(UsageError, match="lenet5 does not take images of 40x40"):
        train_network(find_card("lenet5"), replace(LENET, size=(40, 40)), data, tmp_path / "n.pt", observer)


@pytest.mark.slow
def test_images_that_do_not_fit_in_memory_train_alike(
    tmp_path: Path, data: TrainData, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, paths = find_card("lenet5"), [tmp_path / "kept.pt", tmp_path / "streamed.pt"]
    train_network(card, LENET, data, paths[0], recorder())
    monkeypatch.setattr(loop, "MEMORY_BUDGET_BYTES", 1000)
    train_network(card, LENET, data, paths[1], recorder())
    assert _equal(_state(paths[0]), _state(paths[1]))


@pytest.mark.parametrize(
    ("network", "asked", "used"), [("lenet5", None, 1), ("lenet5", 2, 2), ("cifar_resnet20", None, 3)]
)
def test_small_work_is_done_by_one_thread(
    network: str,
    asked: int | None,
    used: int,
    tmp_path: Path,
    data: TrainData,
    observer: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    settings = replace(RESNET, epochs=1, threads=asked)
    train_network(find_card(network), settings, data, tmp_path / "net.pt", observer)
    assert seen == [used, 3]


@pytest.mark.parametrize("name", ["", "file.txt/net.pt"])
def test_a_place_that_cannot_be_written_is_told_before_training(
    name: str, tmp_path: Path, data: TrainData, observer: Any
) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(TrainingError, match=r"is a folder|cannot be written"):
        train_network(find_card("lenet5"), LENET, data, tmp_path / name, observer)
    assert observer.images == 0


def test_a_disk_that_fills_leaves_the_best_so_far(
    tmp_path: Path, data: TrainData, observer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "net.pt"

    def full(*_: object, **__: object) -> None:
        raise WeightsError("the disk is full", "free some space")

    monkeypatch.setattr(loop, "save_run", full)
    with pytest.raises(WeightsError):
        train_network(find_card("lenet5"), LENET, data, output, observer)
    assert load_checkpoint(output).progress["epoch"] == 1


def test_the_curve_is_a_picture(tmp_path: Path, data: TrainData, observer: Any) -> None:
    result = train_network(find_card("lenet5"), replace(LENET, epochs=1), data, tmp_path / "n.pt", observer)
    with Image.open(result.curve) as image:
        assert (image.format, image.size) == ("PNG", (1200, 675))


def test_dropout_and_order_differ_from_epoch_to_epoch(
    tmp_path: Path, data: TrainData, observer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    train_epoch = Learner.train_epoch

    def spy(self: Learner, *arguments: Any) -> Any:
        outcome = train_epoch(self, *arguments)
        seen.append(int(torch.randint(2**31, ()).item()))
        return outcome

    monkeypatch.setattr(Learner, "train_epoch", spy)
    train_network(find_card("lenet5"), LENET, data, tmp_path / "net.pt", observer)
    assert len(set(seen)) == 3


def test_a_curve_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    record = EpochRecord(
        epoch=1, train_loss=1.0, val_loss=1.0, val_top1=50.0, lr=0.1, images_per_s=1.0, seconds=1.0
    )
    with pytest.raises(TrainingError, match="cannot be written"):
        draw_curve((record,), tmp_path / "file" / "n.curve.png", title="n")

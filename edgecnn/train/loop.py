"""The training run: epochs, the best of them, early stopping, and files that survive an interruption."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import torch

from edgecnn.cards import ModelCard
from edgecnn.errors import UsageError
from edgecnn.spec import Preprocess
from edgecnn.statistics import wilson_interval
from edgecnn.train.curve import draw_curve
from edgecnn.train.evaluate import evaluate
from edgecnn.train.files import RunFiles
from edgecnn.train.geometry import Glimpse, augmentation_canvas, glimpse, training_preprocess
from edgecnn.train.learner import Examples, Learner
from edgecnn.train.pixels import MEMORY_BUDGET_BYTES, open_pixels, size_bytes
from edgecnn.train.result import EpochRecord, TrainObserver, TrainResult, best_epoch
from edgecnn.train.resume import RunIdentity, identify, load_run, save_best, save_run
from edgecnn.train.settings import TrainSettings
from edgecnn.train.sources import TrainData
from edgecnn.train.start import Start, start_training
from edgecnn.weights import Network

__all__ = ["train_network"]

History = tuple[EpochRecord, ...]

#: A batch of images for which no gradients are kept may be larger; more than this gains no speed.
_VALIDATION_BATCH = 64

#: Multiply-accumulates per image under which a second thread gains little: MobileNetV2 at 32x32 (6 M) took
#: 55 ms a step of 32 images on two idle cores and 65 ms on one, but seconds, for the threads wait for each
#: other busily, as soon as another program wanted one of the two.
_SMALL_WORK_MACS = 20_000_000


def train_network(
    card: ModelCard,
    settings: TrainSettings,
    data: TrainData,
    output: Path,
    observer: TrainObserver,
    *,
    resume: bool = False,
) -> TrainResult:
    """Train the network of ``card`` on ``data`` and keep the best epoch's weights in ``output``.

    ``output`` is written as soon as an epoch is better than all before, and the state of the run beside it
    after every epoch, so that an interruption (``KeyboardInterrupt`` included, which passes through) loses
    at most the epoch under way. The same settings, data and machine give the same numbers, whether or not
    the run was interrupted. torch's generators and number of threads are as before when it returns.

    Args:
        card: of the network.
        settings: how to train.
        data: images to train on and to judge by.
        output: the checkpoint, NET.pt; NET.last.pt and NET.curve.png are made beside it.
        observer: is told how it goes.
        resume: go on with the run that NET.last.pt is of.

    Raises:
        TrainingError: a file cannot be written, the loss is not finite, or there is nothing to resume.
        UsageError: the network does not take images of that size.
        WeightsError: the weights cannot be had or do not fit.
        DataError: the classes of the data are not usable, or (ImageError) an image is not.
    """
    files = RunFiles(output)
    files.require_writable()
    with torch.random.fork_rng(devices=[]):
        start = start_training(card, settings, data, observer.note)
        settings, preprocess = _settle(settings, start.network, glimpse(data.train))
        with _threads(settings.threads):
            run = _prepare(start, settings, preprocess, data, files, observer)
            history = _epochs(run, load_run(run.learner, run.identity, files) if resume else ())
        files.last.unlink(missing_ok=True)
        return _result(run, history)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What stays the same from epoch to epoch, and the learner."""

    settings: TrainSettings
    learner: Learner
    identity: RunIdentity
    preprocess: Preprocess
    train: Examples
    val: Examples
    files: RunFiles
    observer: TrainObserver


def _settle(settings: TrainSettings, network: Network, seen: Glimpse) -> tuple[TrainSettings, Preprocess]:
    """The preprocessing of the trained network, and settings in which nothing is left to be decided."""
    preprocess = training_preprocess(network.preprocess, network.card, seen, settings.size)
    return replace(
        settings,
        size=preprocess.crop,
        flip=not seen.grey if settings.flip is None else settings.flip,
        threads=settings.threads or _sensible_threads(network.card, preprocess),
    ), preprocess


def _sensible_threads(card: ModelCard, preprocess: Preprocess) -> int:
    """One for small work; else as many as torch would take."""
    area, own_area = prod(preprocess.crop), prod(card.preprocess.crop)
    return 1 if card.macs * area / own_area < _SMALL_WORK_MACS else torch.get_num_threads()


def _prepare(
    start: Start,
    settings: TrainSettings,
    preprocess: Preprocess,
    data: TrainData,
    files: RunFiles,
    observer: TrainObserver,
) -> _Run:
    network = start.network
    _require_size(network, preprocess)
    canvas = preprocess if settings.augment == "none" else augmentation_canvas(preprocess)
    needed = size_bytes(len(data.train), canvas) + size_bytes(len(data.val), preprocess)
    keep = needed <= MEMORY_BUDGET_BYTES
    train = Examples(open_pixels(data.train, canvas, keep=keep), start.train_labels)
    val = Examples(open_pixels(data.val, preprocess, keep=keep), start.val_labels)
    learner = Learner(network, settings, preprocess, images=len(data.train))
    identity = identify(start, preprocess, settings)
    return _Run(settings, learner, identity, preprocess, train, val, files, observer)


def _require_size(network: Network, preprocess: Preprocess) -> None:
    """Find out by one run whether the network takes such an image."""
    height, width = preprocess.crop
    try:
        with torch.inference_mode():
            network.module(torch.zeros(1, preprocess.channels, height, width))
    except (RuntimeError, ValueError) as error:
        smallest = "x".join(str(side) for side in network.card.smallest)
        raise UsageError(
            f"{network.card.name} does not take images of {height}x{width}: {error}",
            f"Choose another --size; the smallest it takes is {smallest}, and some take one size only.",
        ) from error


def _epochs(run: _Run, history: History) -> History:
    """Go on after ``history`` until the last epoch, or until patience ends."""
    run.observer.images_done(len(history) * len(run.train.labels))
    patience = run.settings.patience or run.settings.epochs
    try:
        while len(history) < run.settings.epochs and (
            not history or len(history) - best_epoch(history).epoch < patience
        ):
            record = _epoch(run, len(history) + 1)
            history = (*history, record)
            best = best_epoch(history) is record
            if best:
                save_best(run.learner, run.identity, record, run.files)
            save_run(run.learner, run.identity, history, run.files)
            run.observer.epoch_done(record, best=best)
    finally:
        # Also after an interruption: the curve is most wanted when a run was stopped for going wrong.
        if history:
            title = f"{run.identity.network}, {len(run.train.labels):,} training images"
            draw_curve(history, run.files.curve, title=title)
    return history


def _epoch(run: _Run, epoch: int) -> EpochRecord:
    started = time.perf_counter()
    outcome = run.learner.train_epoch(epoch, run.train, run.observer.images_done)
    score = evaluate(run.learner.deployed, run.val.pixels, run.val.labels, run.preprocess, _VALIDATION_BATCH)
    return EpochRecord(
        epoch=epoch,
        train_loss=outcome.loss,
        val_loss=score.loss,
        val_top1=score.top1,
        lr=outcome.lr,
        images_per_s=outcome.images_per_s,
        seconds=time.perf_counter() - started,
    )


def _result(run: _Run, history: History) -> TrainResult:
    best, n_val = best_epoch(history), len(run.val.labels)
    low, high = wilson_interval(round(best.val_top1 * n_val / 100), n_val)
    return TrainResult(
        network=run.identity.network,
        classes=len(run.identity.classes),
        epochs=len(history),
        best_epoch=best.epoch,
        best_top1=best.val_top1,
        best_top1_ci95=(100 * low, 100 * high),
        n_train=len(run.train.labels),
        n_val=n_val,
        seconds=sum(record.seconds for record in history),
        checkpoint=run.files.checkpoint,
        curve=run.files.curve,
        history=history,
    )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)

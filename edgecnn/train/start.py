"""The network that training starts from: its classes, its head, and the labels in its terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgecnn.cards import ModelCard
from edgecnn.data import LabelledImages, map_labels
from edgecnn.errors import DataError
from edgecnn.train.settings import TrainSettings
from edgecnn.train.sources import TrainData
from edgecnn.weights import Network, head_keys, load_network

__all__ = ["Start", "start_training"]


@dataclass(frozen=True, slots=True)
class Start:
    """A network whose outputs are the classes of the data.

    Attributes:
        network: with the given weights, and a new head where theirs is for other classes.
        train_labels: (n_train,) int64, indices of the network's classes.
        val_labels: (n_val,) int64, likewise.
    """

    network: Network
    train_labels: NDArray[np.int64]
    val_labels: NDArray[np.int64]


def start_training(
    card: ModelCard, settings: TrainSettings, data: TrainData, note: Callable[[str], None]
) -> Start:
    """Load the weights of ``settings`` and fit the network to the classes of ``data``.

    Raises:
        WeightsError: the weights cannot be had or do not fit.
        DataError: a class without training images, fewer than two classes, or validation images of other
            classes.
    """
    classes = _classes_of(data.train)
    _require_known(data.val, classes)
    network = _network(card, settings, classes, note)
    return Start(network, map_labels(data.train, network.classes), map_labels(data.val, network.classes))


def _classes_of(source: LabelledImages) -> tuple[str, ...]:
    """The source's class names, or the numbers that are its labels."""
    names = source.classes or tuple(str(index) for index in range(int(source.labels.max(initial=-1)) + 1))
    if len(names) < 2:
        raise DataError(
            f"{source.name} has {len(names)} class: there is nothing to tell apart.",
            "Give images of two classes or more.",
        )
    counts = np.bincount(source.labels, minlength=len(names))
    empty = [name for name, count in zip(names, counts, strict=True) if count == 0]
    if empty:
        raise DataError(
            f"{source.name} has no image of {len(empty)} of its {len(names)} classes: {', '.join(empty[:5])}"
            f"{', ...' if len(empty) > 5 else ''}.",
            "Add images of these classes, or leave the classes out.",
        )
    return names


def _require_known(val: LabelledImages, classes: tuple[str, ...]) -> None:
    unknown = sorted(set(val.classes) - set(classes))
    if unknown:
        raise DataError(
            f"{val.name}: these classes of the validation images are not trained: {', '.join(unknown[:5])}"
            f"{', ...' if len(unknown) > 5 else ''}.",
            "Give validation images of the classes that are trained.",
        )


def _network(
    card: ModelCard, settings: TrainSettings, classes: tuple[str, ...], note: Callable[[str], None]
) -> Network:
    if settings.weights == "random":
        return load_network(card, "random", seed=settings.seed, classes=classes)
    given = load_network(card, settings.weights, seed=settings.seed, announce=note)
    # The same names in another order are the same classes: labels are mapped by name.
    if sorted(given.classes) == sorted(classes):
        return given
    note(
        f"The weights are for {len(given.classes)} other classes: the head is new, for {len(classes)} "
        "classes; everything before it is kept."
    )
    return _with_new_head(given, classes, settings.seed)


def _with_new_head(given: Network, classes: tuple[str, ...], seed: int) -> Network:
    module = load_network(given.card, "random", seed=seed, classes=classes).module
    start = module.state_dict()
    head = {key: start[key] for key in head_keys(given.card)}
    module.load_state_dict({**given.module.state_dict(), **head})
    return replace(given, module=module, classes=classes)

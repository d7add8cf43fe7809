"""The state of an unfinished run, on disk and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import msgspec

from edgecnn.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgecnn.errors import TrainingError
from edgecnn.spec import Preprocess
from edgecnn.train.files import RunFiles
from edgecnn.train.learner import Learner
from edgecnn.train.result import EpochRecord
from edgecnn.train.settings import TrainSettings
from edgecnn.train.start import Start

__all__ = ["RunIdentity", "identify", "load_run", "save_best", "save_run"]

_ANEW = "Leave out --resume to train anew."
#: Settings that do not change what an epoch computes.
_MAY_CHANGE = frozenset({"patience"})
#: Facts whose values are too long for a message.
_LONG = frozenset({"classes", "labels"})


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What must be the same for a run to go on as if it had not stopped.

    Attributes:
        network: the card's name.
        classes: in the order of the network's output.
        preprocess: of the trained network.
        facts: everything else, as plain values by name.
    """

    network: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    facts: dict[str, Any]

    def checkpoint(self, learner: Learner, progress: dict[str, Any]) -> Checkpoint:
        """The weights to deploy, as they are now."""
        weights = learner.deployed.state_dict()
        tensors = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
        return Checkpoint(self.network, self.classes, self.preprocess, tensors, progress)


def identify(start: Start, preprocess: Preprocess, settings: TrainSettings) -> RunIdentity:
    """The identity of a run that starts so; labels stand for the data."""
    network = start.network
    labels = start.train_labels.tobytes() + b"/" + start.val_labels.tobytes()
    facts = {
        **{name: value for name, value in asdict(settings).items() if name not in _MAY_CHANGE},
        "network": network.card.name,
        "classes": list(network.classes),
        "labels": sha256(labels).hexdigest(),
    }
    return RunIdentity(network.card.name, network.classes, preprocess, facts)


def save_best(learner: Learner, identity: RunIdentity, record: EpochRecord, files: RunFiles) -> None:
    """Write the checkpoint that is deployed.

    Raises:
        WeightsError: it cannot be written.
    """
    progress = {"epoch": record.epoch, "val_top1": record.val_top1, "settings": identity.facts}
    save_checkpoint(identity.checkpoint(learner, progress), files.checkpoint)


def save_run(
    learner: Learner, identity: RunIdentity, history: tuple[EpochRecord, ...], files: RunFiles
) -> None:
    """Write all that a resume needs.

    Raises:
        WeightsError: it cannot be written.
    """
    progress = {
        "settings": identity.facts,
        "history": [asdict(record) for record in history],
        "learner": learner.state(),
    }
    save_checkpoint(identity.checkpoint(learner, progress), files.last)


def load_run(learner: Learner, identity: RunIdentity, files: RunFiles) -> tuple[EpochRecord, ...]:
    """Bring ``learner`` to where the run stopped.

    Returns:
        The epochs that are done.

    Raises:
        TrainingError: there is nothing to resume, or it was another run.
        WeightsError: the file is damaged.
    """
    for file, what in ((files.last, "state of an unfinished run"), (files.checkpoint, "best checkpoint")):
        if not file.is_file():
            raise TrainingError(f"There is nothing to resume: the {what}, {file}, is missing.", _ANEW)
    progress = load_checkpoint(files.last).progress
    if "learner" not in progress:
        raise TrainingError(f"{files.last} is no state of a run.", _ANEW)
    changes = _changes(progress["settings"], identity.facts)
    if changes:
        raise TrainingError(
            f"{files.last} is of another run: {'; '.join(changes)}.",
            f"Repeat the command as it was, with --resume. {_ANEW}",
        )
    learner.load_state(progress["learner"])
    return msgspec.convert(tuple(progress["history"]), tuple[EpochRecord, ...])


def _changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = sorted(name for name in now if then.get(name) != now[name])
    return [
        f"{name} are not the same" if name in _LONG else f"{name} was {then.get(name)} and is {now[name]}"
        for name in names
    ]

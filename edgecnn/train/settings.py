"""What a user may choose of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgecnn.errors import UsageError

__all__ = ["Augment", "Layers", "OptimizerName", "TrainSettings"]

Layers = Literal["head", "last", "all"]
OptimizerName = Literal["sgd", "adamw"]
Augment = Literal["none", "basic", "mixup", "cutmix"]

#: (optimizer, whether the body starts at random) -> peak learning rate. A random body and a new head alone
#: take large steps; a trained body that moves as a whole keeps what it knows only under small ones.
_LR = {
    ("adamw", True): 1e-3,
    ("adamw", False): 3e-4,
    ("sgd", True): 0.05,
    ("sgd", False): 0.01,
}
#: Decoupled (AdamW) decay is multiplied by the learning rate, which is about a hundred times smaller.
_WEIGHT_DECAY = {"adamw": 0.05, "sgd": 5e-4}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a network is trained.

    Attributes:
        epochs: passes over the training images.
        weights: where training starts: "pretrained", "random", or the path of a file of weights.
        layers: what is trained: the classifying layer, that and the last third of the layers, or all.
        batch_size: images per step, at least 2, which batch normalisation needs.
        lr: peak learning rate; None for :meth:`peak_lr`'s.
        optimizer: SGD with Nesterov momentum, or AdamW.
        momentum: SGD's, and the first of AdamW's two decay rates.
        weight_decay: of tensors with two or more dimensions; norms and biases have none. None for the
            optimizer's default here.
        warmup_epochs: epochs, or parts of one, over which the learning rate rises linearly.
        label_smoothing: share of each target that is spread over all classes, 0 up to but excluding 1.
        augment: "basic" is random crops and flips; "mixup" and "cutmix" add mixing of images.
        flip: whether to mirror images; None for yes unless all images are grey, as characters are.
        size: (height, width) of the network's input; None lets the images decide.
        ema: decay per step of the running average of the weights, which is then what is validated and
            kept; None for no average.
        patience: stop after so many epochs without a better one; None to run them all.
        seed: of new weights, the order of images, augmentation and dropout.
        threads: of torch; None for 1 where a step is small work, else torch's choice.
    """

    epochs: int
    weights: str = "pretrained"
    layers: Layers = "all"
    batch_size: int = 32
    lr: float | None = None
    optimizer: OptimizerName = "adamw"
    momentum: float = 0.9
    weight_decay: float | None = None
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.1
    augment: Augment = "basic"
    flip: bool | None = None
    size: tuple[int, int] | None = None
    ema: float | None = None
    patience: int | None = None
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        _require("--epochs", self.epochs, self.epochs >= 1, "1 or more")
        _require("--batch-size", self.batch_size, self.batch_size >= 2, "2 or more")
        _require("--lr", self.lr, self.lr is None or 0 < self.lr < float("inf"), "more than 0")
        _require("--momentum", self.momentum, 0 <= self.momentum < 1, "from 0 to below 1")
        decay = self.weight_decay
        _require("--weight-decay", decay, decay is None or 0 <= decay < float("inf"), "0 or more")
        _require("--warmup-epochs", self.warmup_epochs, 0 <= self.warmup_epochs < float("inf"), "0 or more")
        _require(
            "--label-smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "from 0 to below 1"
        )
        _require("--ema", self.ema, self.ema is None or 0 < self.ema < 1, "between 0 and 1")
        _require("--patience", self.patience, self.patience is None or self.patience >= 1, "1 or more")
        _require("--threads", self.threads, self.threads is None or self.threads >= 1, "1 or more")
        _require("--seed", self.seed, 0 <= self.seed < 2**32, "from 0 to 4294967295")
        if self.weights == "random" and self.layers != "all":
            raise UsageError(
                f"--train-layers {self.layers} keeps the other layers as they are, and with --weights random "
                "those know nothing.",
                "Use --train-layers all, or start from --weights pretrained or a file.",
            )

    @property
    def peak_lr(self) -> float:
        """The learning rate after the warm-up."""
        bold = self.weights == "random" or self.layers == "head"
        return _LR[self.optimizer, bold] if self.lr is None else self.lr

    @property
    def decay(self) -> float:
        """The weight decay that is used."""
        return _WEIGHT_DECAY[self.optimizer] if self.weight_decay is None else self.weight_decay


def _require(option: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise UsageError(f"{option} {value} is out of range.", f"Give a number that is {allowed}.")

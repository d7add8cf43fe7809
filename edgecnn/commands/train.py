"""``edgecnn train``: fine-tune a network on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from edgecnn.cards import find_card
from edgecnn.commands.console import Terminal, terminal_options
from edgecnn.commands.parameters import SizeType
from edgecnn.errors import TrainingError
from edgecnn.train.files import RunFiles
from edgecnn.train.settings import TrainSettings

if TYPE_CHECKING:
    from edgecnn.train.result import EpochRecord, TrainResult

__all__ = ["train"]


@click.command()
@click.argument("network", metavar="NET")
@click.option("--data", required=True, metavar="DATA", help="Labelled images to train on; see above.")
@click.option("--val", metavar="DATA", help="Labelled images to choose the best epoch by.")
@click.option(
    "--weights",
    default="pretrained",
    show_default=True,
    metavar="pretrained|random|PATH",
    help="Where to start: published weights, random ones, or a state dict or checkpoint.",
)
@click.option(
    "--train-layers",
    "layers",
    type=click.Choice(["head", "last", "all"]),
    default="all",
    show_default=True,
    help="The classifying layer, that and the last third of the layers, or all; the others stay as they are.",
)
@click.option("--epochs", type=int, required=True, help="Passes over the training images.")
@click.option("--batch-size", type=int, default=32, show_default=True, help="Images per step.")
@click.option(
    "--lr",
    type=float,
    help="Peak learning rate. Default: adamw 0.001, sgd 0.05 for random weights or the head alone; "
    "adamw 0.0003, sgd 0.01 to fine-tune more than the head.",
)
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "sgd"]),
    default="adamw",
    show_default=True,
    help="sgd has Nesterov momentum.",
)
@click.option("--momentum", type=float, default=0.9, show_default=True, help="SGD's; AdamW's beta 1.")
@click.option("--weight-decay", type=float, help="Not of norms and biases. Default: adamw 0.05, sgd 0.0005.")
@click.option(
    "--warmup-epochs",
    type=float,
    default=1.0,
    show_default=True,
    help="The learning rate rises linearly over these, then falls along a cosine.",
)
@click.option(
    "--label-smoothing",
    type=float,
    default=0.1,
    show_default=True,
    help="Share of each target that is spread over all classes.",
)
@click.option(
    "--augment",
    type=click.Choice(["none", "basic", "mixup", "cutmix"]),
    default="basic",
    show_default=True,
    help="basic: random crops and mirror images; mixup, cutmix: basic, and mixed pairs of images.",
)
@click.option("--flip/--no-flip", default=None, help="Mirror images. Default: unless all are grey.")
@click.option("--size", type=SizeType(), help="Input size, if not as the images and the network suggest.")
@click.option("--ema", type=float, metavar="DECAY", help="Average the weights, for instance 0.999 per step.")
@click.option("--patience", type=int, help="Stop after so many epochs without a better one.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of new weights, image order and augmentation."
)
@click.option(
    "--threads",
    type=int,
    help="Threads of torch. Default: one per core, or 1 for small inputs. Take 1 on a busy machine.",
)
@click.option("--resume", is_flag=True, help="Go on with the interrupted run of the same command.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The checkpoint; NET.pt if not given.")
@terminal_options
def train(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401
    """Train the network NET on labelled images.

    DATA is an image folder with one sub-folder per class, a .csv with the columns path,label, an .npz with
    x_train, y_train, x_test, y_test and classes, or digits, cifar10[:DIR], cifar100[:DIR]. After each
    epoch the images of --val, or of the data's own test split, or every fifth image where there is none,
    are classified exactly as the deployed network would, and the best epoch is kept.

    Written beside each other: the checkpoint NET.pt, the learning curve NET.curve.png and, until the run
    is complete, NET.last.pt for --resume.

    Photographs get the network's own input size. Images of up to 64 pixels are resized whole, to their own
    size or the smallest that the network takes.
    """
    card = find_card(options.pop("network"))
    data, val, resume = options.pop("data"), options.pop("val"), options.pop("resume")
    output = options.pop("output") or Path(f"{card.name}.pt")
    settings = TrainSettings(**options)
    RunFiles(output).require_writable()
    from edgecnn.train.loop import train_network
    from edgecnn.train.sources import open_train_data

    sources = open_train_data(data, val, terminal.note)
    with terminal.progress(card.name, settings.epochs * len(sources.train)) as advance:
        observer = _Reporter(terminal, settings.epochs, advance)
        try:
            result = train_network(card, settings, sources, output, observer, resume=resume)
        except KeyboardInterrupt as interrupt:
            raise _interrupted(RunFiles(output)) from interrupt
    _print(terminal, result)


@dataclass(frozen=True, slots=True)
class _Reporter:
    """Puts a run's events on the terminal; see :class:`edgecnn.train.result.TrainObserver`."""

    terminal: Terminal
    epochs: int
    advance: Callable[[int], None]

    def note(self, text: str) -> None:
        self.terminal.note(text)

    def images_done(self, count: int) -> None:
        self.advance(count)

    def epoch_done(self, record: EpochRecord, *, best: bool) -> None:
        self.terminal.note(
            f"epoch {record.epoch:{len(str(self.epochs))}}/{self.epochs}  loss {record.train_loss:.3f}  "
            f"val loss {record.val_loss:.3f}  val top-1 {record.val_top1:5.1f} %{'*' if best else ' '}  "
            f"lr {record.lr:.1e}  {record.images_per_s:.0f} images/s"
        )


def _interrupted(files: RunFiles) -> TrainingError:
    if not files.last.is_file():
        return TrainingError("Interrupted before the first epoch was complete.", "Start again.")
    return TrainingError(
        f"Interrupted. {files.checkpoint} holds the best epoch so far.",
        "Repeat the command with --resume to go on from the last complete epoch.",
    )


def _print(terminal: Terminal, result: TrainResult) -> None:
    if terminal.json:
        terminal.document(msgspec.to_builtins(result, enc_hook=str))
        return
    low, high = result.best_top1_ci95
    terminal.line(
        f"{result.checkpoint}  {result.network}, {result.classes} classes, epoch {result.best_epoch} of "
        f"{result.epochs}, {result.seconds:.0f} s"
    )
    terminal.line(
        f"  val top-1 {result.best_top1:.2f} % (95 % interval {low:.1f} to {high:.1f}, {result.n_val} images)"
    )
    terminal.line(f"  curve {result.curve}")

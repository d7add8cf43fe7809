"""The learning curve, as a picture."""

from __future__ import annotations

from pathlib import Path

from edgecnn.atomic import replacing, writing
from edgecnn.errors import DependencyMissingError, TrainingError
from edgecnn.train.result import EpochRecord, best_epoch

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise DependencyMissingError("matplotlib", "The learning curve", "plots") from error

__all__ = ["draw_curve"]

# Two hues that also differ for colour-blind eyes (Okabe and Ito, 2008).
_TRAIN, _VAL = "#0072B2", "#D55E00"


def draw_curve(history: tuple[EpochRecord, ...], path: Path, *, title: str) -> None:
    """Write a PNG of 1200 x 675 pixels: loss and top-1 against the epoch.

    Raises:
        TrainingError: it cannot be written.
    """
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    _draw_loss(left, history)
    _draw_accuracy(right, history)
    remedy = "The checkpoint is written; free some space."
    with writing(path, TrainingError, remedy), replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_loss(axes: Axes, history: tuple[EpochRecord, ...]) -> None:
    epochs = [record.epoch for record in history]
    axes.plot(epochs, [record.train_loss for record in history], "o-", ms=3, color=_TRAIN, label="training")
    axes.plot(epochs, [record.val_loss for record in history], "s-", ms=3, color=_VAL, label="validation")
    _finish(axes, "Loss (cross-entropy)")
    axes.set_ylim(bottom=0)
    axes.legend()


def _draw_accuracy(axes: Axes, history: tuple[EpochRecord, ...]) -> None:
    best = best_epoch(history)
    top1 = [record.val_top1 for record in history]
    axes.plot([record.epoch for record in history], top1, "s-", ms=3, color=_VAL, label="validation")
    label = f"best: {best.val_top1:.1f} % (epoch {best.epoch})"
    axes.plot(best.epoch, best.val_top1, "*", ms=13, color="black", label=label)
    _finish(axes, "Top-1 accuracy (%)")
    axes.set_ylim(0, 103)
    axes.legend(loc="lower right")


def _finish(axes: Axes, what: str) -> None:
    axes.set_xlabel("Epoch")
    axes.set_ylabel(what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)

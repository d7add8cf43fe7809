"""What people see of a validation: accuracy, comparison, classes, and what was not held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgecnn.cache import cache_folder
from edgecnn.commands.console import Column, Terminal
from edgecnn.reports.counted import counted
from edgecnn.reports.result import Accuracy, ClassAccuracy, Interval, Result, Variant

__all__ = ["gate_failures", "print_validation"]

_MODEL = (Column("model", number=False), Column("engine", number=False))
_ACCURACY = (
    *_MODEL,
    Column("precision", number=False),
    Column("n"),
    Column("top-1 %"),
    Column("95 % CI"),
    Column("top-5 %"),
    Column("images/s"),
)
_COMPARISON = (
    *_MODEL,
    Column("top-1 change"),
    Column("agree %"),
    Column("gained"),
    Column("lost"),
    Column("McNemar p"),
    Column("SQNR dB"),
)
_CLASSES = (Column("class"), Column("label", number=False), Column("n"), Column("top-1 %"))
_CLASS_CHANGES = (Column("reference %"), Column("change"))


def print_validation(terminal: Terminal, results: Sequence[Result]) -> None:
    """Print the tables of results that come from one pass."""
    names = _names([result.variant for result in results])
    measured = [(names[result.variant], result, accuracy) for result, accuracy in _with_accuracy(results)]
    terminal.table(_ACCURACY, [_accuracy_row(name, result, accuracy) for name, result, accuracy in measured])
    compared = [(name, result, accuracy) for name, result, accuracy in measured if accuracy.reference]
    if compared:
        reference = compared[0][2].reference
        assert reference is not None
        terminal.line(f"Against {names[reference]} in {reference.engine}, image by image:")
        rows = [_comparison_row(name, result, accuracy) for name, result, accuracy in compared]
        terminal.table(_COMPARISON, rows)
    for name, result, accuracy in measured:
        if accuracy.per_class is not None:
            terminal.line(f"{name} in {result.variant.engine}, by class:")
            _print_classes(terminal, accuracy.per_class)
    for line in _notes(measured):
        terminal.line(line)


def gate_failures(results: Sequence[Result]) -> list[str]:
    """A sentence for each limit that did not hold."""
    return [
        f"Top-1 of {result.variant.artifact} in {result.variant.engine} is {gate.value:.2f} points below the "
        f"reference's; --{gate.name.replace('_', '-')} allows {gate.limit:g}."
        for result in results
        for gate in result.gates
        if not gate.held
    ]


def _with_accuracy(results: Sequence[Result]) -> list[tuple[Result, Accuracy]]:
    return [(result, result.accuracy) for result in results if result.accuracy is not None]


def _names(variants: Sequence[Variant]) -> dict[Variant, str]:
    """A short name for each, or its whole path where two files have the same one."""
    short = {variant.artifact: _short_name(variant) for variant in variants}
    counts = Counter(short.values())
    return {
        variant: variant.artifact if counts[short[variant.artifact]] > 1 else short[variant.artifact]
        for variant in variants
    }


def _short_name(variant: Variant) -> str:
    """The file's name; for a network that was given by name, and exported into the cache, that name."""
    path = Path(variant.artifact)
    return variant.network if path.parent == cache_folder("artifacts") else path.name


def _accuracy_row(name: str, result: Result, accuracy: Accuracy) -> tuple[object, ...]:
    variant, pace = result.variant, result.pace
    return (
        name,
        variant.engine,
        variant.precision,
        accuracy.n,
        f"{accuracy.top1:.2f}",
        _range(accuracy.top1_ci95),
        None if accuracy.top5 is None else f"{accuracy.top5:.2f}",
        None if pace is None else f"{pace.engine_images_per_s:.0f}",
    )


def _comparison_row(name: str, result: Result, accuracy: Accuracy) -> tuple[object, ...]:
    flips = accuracy.flips
    assert flips is not None
    return (
        name,
        result.variant.engine,
        f"{100 * (flips.gained - flips.lost) / accuracy.n:+.2f}",
        f"{accuracy.agreement:.2f}",
        flips.gained,
        flips.lost,
        f"{accuracy.mcnemar_p:.2g}",
        _decibel(accuracy),
    )


def _decibel(accuracy: Accuracy) -> str | None:
    if accuracy.sqnr_db is not None:
        return f"{accuracy.sqnr_db:.1f}"
    return "equal" if accuracy.max_abs_difference == 0 else None


def _range(interval: Interval) -> str:
    low, high = interval
    return f"{low:.1f}-{high:.1f}"


def _print_classes(terminal: Terminal, classes: Sequence[ClassAccuracy]) -> None:
    """The table of classes; with a reference the largest loss is first."""
    paired = classes[0].reference_top1 is not None
    rows = [_class_row(row) for row in (sorted(classes, key=_change) if paired else classes)]
    terminal.table((*_CLASSES, *_CLASS_CHANGES) if paired else _CLASSES, rows)


def _class_row(row: ClassAccuracy) -> tuple[object, ...]:
    own = (row.index, row.name, row.n, f"{row.top1:.1f}")
    return own if row.reference_top1 is None else (*own, f"{row.reference_top1:.1f}", f"{_change(row):+.1f}")


def _change(row: ClassAccuracy) -> float:
    return row.top1 - (row.reference_top1 or 0)


def _notes(measured: Sequence[tuple[str, Result, Accuracy]]) -> list[str]:
    """What the tables do not say of themselves."""
    _, result, accuracy = measured[0]
    notes = []
    if result.pace is not None and accuracy.dataset is not None:
        pace = result.pace
        notes.append(
            f"{accuracy.n} images of {accuracy.dataset.name} in {pace.seconds:.1f} s on "
            f"{counted(pace.workers, 'core')}: {pace.images_per_s:.0f} images/s "
            "(in the table: without decoding)."
        )
    notes += [
        f"{name} in {one.variant.engine}: {counted(own.tied, 'tie')} for the first place; "
        "the lowest class index counts."
        for name, one, own in measured
        if own.tied
    ]
    return notes

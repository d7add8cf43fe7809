"""What people see of a quantisation: accuracy, speed, what runs in int8, and why these layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgecnn.atomic import replacing, writing
from edgecnn.commands.console import Column, Terminal
from edgecnn.errors import ResultError

if TYPE_CHECKING:
    from edgecnn.quantize.mixed_precision import MixedPoint
    from edgecnn.quantize.pipeline import Outcome
    from edgecnn.reports.result import Result

__all__ = ["print_outcome", "save_front"]

_MODEL_IS_THERE = "The model is written; free some space, and quantise again for this file."

_SUMMARY = (
    Column("model", number=False),
    Column("precision", number=False),
    Column("size MB"),
    Column("top-1 %"),
    Column("95 % CI"),
    Column("ms"),
)
_FRONT = (
    Column("in float", number=False),
    Column("agree %"),
    Column("SQNR dB"),
    Column("latency"),
    Column("95 % CI"),
    Column("goal", number=False),
    Column("", number=False),
)


def print_outcome(terminal: Terminal, outcome: Outcome, front: Path | None) -> None:
    """Print the tables, then a sentence for each thing that the user asked for."""
    quantised, measured = outcome.quantised, outcome.measured
    terminal.line(f"{outcome.artifact.path}: {quantised.scheme}")
    for step in quantised.steps:
        terminal.line(f"  {step}")
    terminal.table(_SUMMARY, [_row(result) for result in measured.results])
    for line in (*_accuracy_lines(outcome), *_speed_lines(outcome), *_portability_lines(outcome)):
        terminal.line(line)
    if len(quantised.front) > 1:
        _print_front(terminal, quantised.front)
    if front is not None:
        terminal.line(f"All that was tried: {front}")


def _print_front(terminal: Terminal, points: Sequence[MixedPoint]) -> None:
    from edgecnn.quantize.mixed_precision import chosen_point, why_chosen

    chosen = chosen_point(points)
    terminal.line("Tried, until the held-out images agreed:")
    terminal.table(_FRONT, [_front_row(point, chosen=point is chosen) for point in points])
    terminal.line(f"Chosen: {chosen.label}. {why_chosen(chosen)}")


def save_front(outcome: Outcome, path: Path, terminal: Terminal) -> Path | None:
    """Write the mixed precisions that were tried beside ``path``, as JSON and, with matplotlib, as a picture.

    Those of a file that was at ``path`` before are removed.

    Returns:
        The JSON file; None where no mixed precision was tried.

    Raises:
        ResultError: they cannot be written.
    """
    points = outcome.quantised.front
    file, picture = path.with_suffix(".front.json"), path.with_suffix(".front.png")
    for old in (file, picture):
        with writing(old, ResultError, _MODEL_IS_THERE):
            old.unlink(missing_ok=True)
    if not points:
        return None
    from edgecnn.quantize.mixed_precision import chosen_point

    chosen = chosen_point(points)
    document = {
        "schema": "edgecnn.front/1",
        "artifact": path.name,
        "points": [{**msgspec.to_builtins(point), "chosen": point is chosen} for point in points],
    }
    with writing(file, ResultError, _MODEL_IS_THERE), replacing(file) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
    _draw(points, f"{path.name}: layers in float", picture, terminal)
    return file


def _draw(points: Sequence[MixedPoint], title: str, picture: Path, terminal: Terminal) -> None:
    try:
        from edgecnn.reports.front_plot import FrontPoint, draw_front
    except ModuleNotFoundError:
        terminal.detail(
            "No picture of the front: matplotlib is not installed (pip install 'edgecnn[plots]')."
        )
        return
    from edgecnn.quantize.goal import MIN_AGREEMENT
    from edgecnn.quantize.mixed_precision import chosen_point

    chosen = chosen_point(points)
    drawn = [
        FrontPoint(
            label=point.label,
            relative_latency=point.relative_latency,
            agreement=point.fidelity.agreement,
            chosen=point is chosen,
        )
        for point in points
    ]
    with writing(picture, ResultError, _MODEL_IS_THERE):
        draw_front(drawn, title, MIN_AGREEMENT, picture)


def _row(result: Result) -> tuple[object, ...]:
    accuracy, latency, memory = result.accuracy, result.latency_ms, result.memory_bytes
    low, high = accuracy.top1_ci95 if accuracy else (0, 0)
    return (
        Path(result.variant.artifact).name,
        result.variant.precision,
        None if memory is None or memory.file is None else f"{memory.file / 1e6:.1f}",
        None if accuracy is None else f"{accuracy.top1:.2f}",
        None if accuracy is None else f"{low:.1f}-{high:.1f}",
        None if latency is None else f"{latency.p50:.2f}",
    )


def _accuracy_lines(outcome: Outcome) -> list[str]:
    found = outcome.measured.accuracy
    if found is None:
        return ["Accuracy was not measured: pass --calib or --data."]
    low, high = found.drop_ci95
    flips = outcome.measured.results[1].accuracy
    assert flips is not None
    assert flips.flips is not None
    lines = [
        f"Accuracy  top-1 {0.0 - found.drop:+.2f} points (95 % interval {-high:+.1f} to {-low:+.1f}) on "
        f"{found.n} images of {found.data}",
        f"          {flips.flips.gained} gained, {flips.flips.lost} lost, "
        f"{found.agreement:.1f} % as the float model",
    ]
    gate = next((gate for gate in outcome.measured.gates if gate.name == "max_drop"), None)
    if gate is not None and gate.held and gate.value > gate.limit:
        lines.append(
            f"          More than the {gate.limit:g} points allowed, but within chance on so few images: "
            "measure on more (--data)."
        )
    return lines


def _speed_lines(outcome: Outcome) -> list[str]:
    speed = outcome.measured.speed
    lines = []
    if speed is None:
        lines.append("Speed     not measured: the target does not run here")
    else:
        assert speed.ratio_ci95 is not None  # it was measured just now
        low, high = speed.ratio_ci95
        lines.append(
            f"Speed     {speed.ratio:.2f} times the float model's (95 % interval {low:.2f} to {high:.2f}): "
            f"one image, one thread, {speed.engine}"
        )
    if _multiplies_integers(outcome):
        lines += _int8_lines(outcome)
    if outcome.quantised.kept_float:
        lines.append(f"Float     {len(outcome.quantised.kept_float)} nodes; 'edgecnn inspect' names them")
    return lines


def _int8_lines(outcome: Outcome) -> list[str]:
    share, record = outcome.measured.int8_mac_share, outcome.artifact.spec.quantization
    if share is not None:
        return [f"Int8      {share:.0f} % of the multiply-accumulates really run in int8"]
    if record is None or record.target != "ort":
        return []
    return ["Int8      not known of how many multiply-accumulates: the graph does not say all of its shapes"]


def _multiplies_integers(outcome: Outcome) -> bool:
    return outcome.artifact.spec.precision in {"int8", "mixed"}


def _portability_lines(outcome: Outcome) -> list[str]:
    from edgecnn.quantize.portability import PortabilityUnknown

    found = outcome.portability
    if found is None:
        return []
    if isinstance(found, PortabilityUnknown):
        return [f"Portable  not known whether x86 CPUs without VNNI answer alike: {found.reason}"]
    if not found.can_saturate:
        return ["Portable  no 8-bit sum can saturate: x86 CPUs with and without VNNI answer alike"]
    if not found.saturating_layers:
        return [f"Portable  sums could saturate on x86 CPUs without VNNI; on {found.images} images none did"]
    return [
        "Portable  not to x86 CPUs without VNNI (for those: --cpu x86): sums of "
        f"{len(found.saturating_layers)} layers saturate there, and {found.top1_changed} of "
        f"{found.images} predictions change"
    ]


def _front_row(point: MixedPoint, *, chosen: bool) -> tuple[object, ...]:
    low, high = point.latency_ci95
    return (
        point.label,
        f"{point.fidelity.agreement:.1f}",
        f"{point.fidelity.sqnr_db:.1f}",
        f"x {point.relative_latency:.2f}",
        f"{low:.2f}-{high:.2f}",
        "met" if point.met else "not met",
        "chosen" if chosen else "",
    )

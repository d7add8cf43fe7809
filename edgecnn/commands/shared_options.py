"""Options that mean the same in several commands, once each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgecnn.commands.parameters import FiniteRange

__all__ = [
    "classes_option",
    "duration_option",
    "engines_option",
    "limit_option",
    "max_drop_option",
    "memory_option",
    "result_option",
    "threads_option",
]

FC = TypeVar("FC", bound=Callable[..., Any] | click.Command)

engines_option = click.option(
    "--engine",
    "engines",
    multiple=True,
    default=("ort",),
    show_default=True,
    metavar="E,...",
    help="As 'torch,ort,openvino', 'ort:threads=1,arena=off' or 'package.module:Class'.",
)
threads_option = click.option("--threads", type=click.IntRange(min=1), help="Cores to use; all if not given.")
classes_option = click.option(
    "--classes",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="From WordNet ids to class indices: columns index,wnid,name. "
    "Found by itself as imagenet_classes.csv beside or above the data.",
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), help="Measure on so many images, evenly spaced."
)
max_drop_option = click.option(
    "--max-drop",
    type=FiniteRange(min=0),
    default=0.5,
    show_default=True,
    metavar="POINTS",
    help="Top-1 that int8 may lose, in percentage points, beyond what chance explains (95 % interval).",
)
memory_option = click.option(
    "--memory/--no-memory", default=True, show_default=True, help="Measure memory, too."
)
result_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write the result as JSON, too."
)


def duration_option(default_s: float) -> Callable[[FC], FC]:
    """--duration, in seconds, ``default_s`` where it is not given."""
    return click.option(
        "--duration",
        type=float,
        default=default_s,
        show_default=True,
        metavar="S",
        help="Seconds for each variant.",
    )

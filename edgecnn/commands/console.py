"""What every command shares at the terminal: JSON or a table, notes, progress, verbosity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["Column", "Terminal", "terminal_options"]


P = ParamSpec("P")
R = TypeVar("R")

#: Steps of the progress bar of work that tells its share.
_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    number: bool = True


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a command's words go: results to standard output, everything else to standard error.

    Attributes:
        json: whether the result is to be JSON instead of a table.
        verbosity: -1 quiet (warnings only), 0 normal, 1 for detail.
    """

    json: bool = False
    verbosity: int = 0

    def note(self, text: str) -> None:
        """Say what is going on."""
        if self.verbosity >= 0:
            click.echo(text, err=True)

    def detail(self, text: str) -> None:
        """Say more, for those who asked with -v."""
        if self.verbosity > 0:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Say what the user must know even when quiet."""
        click.echo(f"Warning: {text}", err=True)

    def document(self, value: object) -> None:
        """Print ``value`` (dataclasses, mappings, sequences) as indented JSON."""
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
        """Print a table; None becomes a dash. Full width when the output is not a terminal."""
        table = Table(title=title or None, title_justify="left", header_style="bold")
        for column in columns:
            table.add_column(column.title, justify="right" if column.number else "left", overflow="fold")
        for row in rows:
            table.add_row(*("-" if cell is None else str(cell) for cell in row))
        _output().print(table, markup=False)

    def line(self, text: str) -> None:
        """Print one line of the result for people."""
        click.echo(text)

    @contextmanager
    def progress(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A progress bar on standard error; silent when that is no terminal, or when quiet.

        Yields:
            A function that is called with how many more steps are done.
        """
        console = Console(stderr=True)
        disable = self.verbosity < 0 or not console.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=disable, transient=True) as bar:
            task = bar.add_task(description, total=total)
            yield lambda steps: bar.advance(task, steps)

    @contextmanager
    def shares(self, description: str) -> Iterator[Callable[[float], None]]:
        """The same for work of which the share that is done is known.

        Yields:
            A function that is called with that share, from 0 to 1; less than before moves nothing.
        """
        with self.progress(description, _PERCENT) as advance:
            done = 0

            def reach(share: float) -> None:
                nonlocal done
                steps = max(0, int(_PERCENT * share) - done)
                done += steps
                advance(steps)

            yield reach

    @contextmanager
    def stages(self, description: str, say: Callable[[str], None]) -> Iterator[Callable[[str, float], None]]:
        """The same for work that also tells what it is doing, which goes to ``say`` when it changes.

        Yields:
            A function that is called with what is being done, and with the share that is done.
        """
        with self.shares(description) as reach:
            saying = ""

            def observe(text: str, share: float) -> None:
                nonlocal saying
                if text != saying:
                    say(text)
                saying = text
                reach(share)

            yield observe


def terminal_options(function: Callable[Concatenate[Terminal, P], R]) -> Callable[P, R]:
    """Add --json, -q and -v to a command, and pass them to it as its first argument, a Terminal."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option("-q", "--quiet", is_flag=True, help="Only the result and warnings.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more.")
    @wraps(function)
    def command(*args: Any, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> R:  # noqa: ANN401
        return function(Terminal(json=as_json, verbosity=-1 if quiet else int(verbose)), *args, **options)

    return command  # type: ignore[return-value]


def _output() -> Console:
    """Standard output: as wide as the terminal, or wide enough for any table when there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=200)

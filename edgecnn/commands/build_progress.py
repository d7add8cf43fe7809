"""A build's progress at the terminal: one bar, and what TensorRT is doing now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from edgecnn.commands.console import Terminal
from edgecnn.plans.build import Observer
from edgecnn.plans.messages import Progress

__all__ = ["shown_progress"]


@contextmanager
def shown_progress(terminal: Terminal, title: str) -> Iterator[Observer]:
    """A bar of the outermost phase's steps on standard error; silent when that is no terminal, or when quiet.

    With -v each phase is also told in a line of its own, at a terminal or not.
    """
    console = Console(stderr=True)
    disable = terminal.verbosity < 0 or not console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, disable=disable, transient=True) as bars:
        task = bars.add_task(title, total=None)

        def observe(step: Progress) -> None:
            if step.done == 0:
                terminal.detail(f"{step.phase} ({step.total} steps)")
            if step.parent is None:
                bars.update(task, completed=step.done, total=step.total)
            else:
                bars.update(task, description=f"{title}: {step.phase}")

        yield observe

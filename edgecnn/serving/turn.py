"""What passes between a batcher and an engine: the batches of one turn, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Done", "Ran", "Run"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Ran(Generic[Answer]):
    """One batch that was run.

    Attributes:
        answers: one for each item, in their order; or the error that all of them share.
        begun_s: when it began, by the batcher's clock.
        took_s: how long it took.
    """

    answers: Sequence[Answer] | Exception
    begun_s: float
    took_s: float


#: Takes what became of the batches of a turn, in their order.
Done = Callable[[list[Ran[Answer]]], None]

#: Runs the batches of a turn one after the other, then calls the second argument: once, from the event loop,
#: and never before it has returned itself.
Run = Callable[[list[list[Item]], Done[Answer]], None]

"""Several variants measured in one run, a slice of each in every round.

A machine drifts: its clock falls when it warms up, neighbours come and go. What is measured one after the
other differs by that drift; what takes turns every few hundredths of a second shares it, and the ratio within
a round is free of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecnn.timing.clock import SYSTEM_CLOCK, Clock

__all__ = ["LEAST_ROUNDS", "CallSlice", "RoundSettings", "calls_for", "gaps", "interleave", "timed_calls"]

T = TypeVar("T")

#: Rounds that the 95 % interval of a median over rounds needs.
LEAST_ROUNDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSettings:
    """How long to go on.

    Attributes:
        seconds: for all variants together; the round under way is finished.
        least: rounds to do even so.
        most: rounds after which to stop even so.
        seed: of the order within rounds.
    """

    seconds: float
    least: int = LEAST_ROUNDS
    most: int | None = None
    seed: int = 0


def interleave(
    slices: Sequence[Callable[[], T]],
    settings: RoundSettings,
    clock: Clock = SYSTEM_CLOCK,
    observe: Callable[[float], None] = lambda _: None,
    wanted: Callable[[], bool] = lambda: True,
) -> list[list[T]]:
    """Measure one slice of every variant in each round, until the time is up.

    The order is drawn anew for each round and reversed in the next, so that every variant is measured before
    every other equally often and a steady drift cancels out over two rounds; no variant always follows the
    same other one.

    Args:
        slices: one function a variant; measures a slice and returns what it found.
        settings: how long.
        clock: to measure the time by.
        observe: told after each round what share of the time has passed, 0 to 1.
        wanted: asked before each round; False ends it early, least rounds or not.

    Returns:
        What the slices returned: a list for each variant, in the order of the rounds.
    """
    random = Random(settings.seed)  # noqa: S311 - an order, not a secret
    order = list(range(len(slices)))
    found: list[list[T]] = [[] for _ in slices]
    begin = clock.now()
    rounds, passed = 0, 0.0
    while wanted() and (
        rounds < settings.least
        or (passed < settings.seconds and (settings.most is None or rounds < settings.most))
    ):
        if rounds % 2:
            order.reverse()
        else:
            random.shuffle(order)
        for at in order:
            found[at].append(slices[at]())
        rounds += 1
        passed = (clock.now() - begin) * 1e-9
        observe(min(1.0, passed / settings.seconds) if settings.seconds else 1.0)
    return found


def calls_for(call_ns: float, seconds: float) -> int:
    """How many calls of ``call_ns`` nanoseconds take about ``seconds``; at least one."""
    return max(1, round(seconds * 1e9 / max(call_ns, 1.0)))


def timed_calls(run: Callable[[], object], count: int, now: Callable[[], int]) -> NDArray[np.int64]:
    """Nanoseconds of each of ``count`` calls in a row.

    One stamp a call, the end of one being the start of the next: what lies between is one pass of the loop
    (some 50 ns), and the samples sum up to the time that passed. Nothing is allocated between calls but the
    stamps themselves.
    """
    stamps = [0] * (count + 1)
    stamps[0] = now()
    for at in range(1, count + 1):
        run()
        stamps[at] = now()
    return gaps(stamps)


def gaps(stamps: Sequence[int]) -> NDArray[np.int64]:
    """What lies between each stamp and the next."""
    moments = np.array(stamps, np.int64)
    return moments[1:] - moments[:-1]


@dataclass(frozen=True, slots=True)
class CallSlice:
    """A slice of calls one after the other: what a round of a single caller is.

    Attributes:
        run: one call.
        count: timed calls in a slice.
        lead_in: untimed calls before them. The variants before have emptied the caches, and threads of theirs
            may still wait busily for work that does not come (ONNX Runtime's do for some 40 ms).
        clock: to time by.
    """

    run: Callable[[], object]
    count: int
    lead_in: int = 0
    clock: Clock = SYSTEM_CLOCK

    def __call__(self) -> NDArray[np.int64]:
        """Nanoseconds of each timed call."""
        for _ in range(self.lead_in):
            self.run()
        return timed_calls(self.run, self.count, self.clock.now)

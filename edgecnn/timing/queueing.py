"""Whether a queue with Poisson arrivals can settle, told from how long the answers take.

Waiting times alone do not tell it soon: of 475 queries expected in five seconds, 431 or 519 may arrive, so
that a queue that grows looks like one that does not. But the rate of arrival is known, and how long an
instance works on a query is soon measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgecnn.timing.clock import SYSTEM_CLOCK, Clock

__all__ = ["QueueLoad", "TimedRun", "queue_load"]


@dataclass(slots=True)
class TimedRun:
    """A call that keeps how long it took each time.

    Attributes:
        run: the call.
        clock: to time by.
        took_ns: nanoseconds of each call that returned.
    """

    run: Callable[[], object]
    clock: Clock = SYSTEM_CLOCK
    took_ns: list[int] = field(default_factory=list)

    def __call__(self) -> None:
        """Run, and keep the time."""
        begin = self.clock.now()
        self.run()
        self.took_ns.append(self.clock.now() - begin)


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """How much is asked of the instances that empty a queue.

    Attributes:
        capacity_per_s: queries a second that they answer when all are always busy; infinite for none seen.
        load: share of that which arrives; from 1 on the queue grows for as long as they arrive.
        settling_s: how long the queue remembers how long it was, in seconds; infinite from a load of 1 on.
    """

    capacity_per_s: float
    load: float
    settling_s: float


def queue_load(per_s: float, runs: Sequence[TimedRun]) -> QueueLoad:
    """The load that ``per_s`` Poisson arrivals a second are to ``runs``.

    The relaxation time is that of the queue in heavy traffic, reflected Brownian motion: twice its variance
    over its drift squared (Abate and Whitt, Advances in Applied Probability 19, 1987). The work that arrives
    has the variance ``per_s`` times the mean square of the service time, and is done at the rate
    ``len(runs)``; of one instance with a constant service time S it is 2 S load / (1 - load)^2. Well below a
    load of 1 it is an upper bound.

    Args:
        per_s: mean rate of arrival.
        runs: what answered them, one for each instance; at least one.
    """
    took_s = 1e-9 * np.concatenate([np.array(run.took_ns, np.float64) for run in runs])
    if not len(took_s):
        return QueueLoad(math.inf, 0.0, 0.0)
    capacity = len(runs) / float(took_s.mean())
    load = per_s / capacity
    if load >= 1:
        return QueueLoad(capacity, load, math.inf)
    drift = len(runs) * (1 - load)
    return QueueLoad(capacity, load, 2 * per_s * float(np.mean(took_s**2)) / drift**2)

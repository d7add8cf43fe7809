"""A clock that only what runs on it moves, for tests: every figure is known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgecnn.timing.clock import Clock

__all__ = ["FakeTime"]


@dataclass(slots=True)
class FakeTime:
    """Time that passes while something of :meth:`runner` runs or sleeps, and a little at every look.

    Attributes:
        look_ns: how far a look at the clock moves it; waiting busily ends only if it does.
        now_ns: the time.
        order: the names of what ran, in order.
    """

    look_ns: int = 0
    now_ns: int = 0
    order: list[str] = field(default_factory=list)

    @property
    def clock(self) -> Clock:
        """It, as what is tested takes it."""
        return Clock(self._look, self.pass_by)

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * 1e9)

    def runner(self, name: str, seconds: Callable[[int], float]) -> Callable[[], None]:
        """A call that takes ``seconds(i)`` at its i-th run, counted from 0."""
        runs = 0

        def run() -> None:
            nonlocal runs
            self.pass_by(seconds(runs))
            runs += 1
            self.order.append(name)

        return run

    def _look(self) -> int:
        self.now_ns += self.look_ns
        return self.now_ns

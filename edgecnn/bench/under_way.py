"""A variant on its way through a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgecnn.bench.load import Series
from edgecnn.bench.opened import OpenVariant
from edgecnn.errors import EdgecnnError
from edgecnn.reports.result import Result
from edgecnn.timing.warmup import WarmUp

__all__ = ["Observe", "UnderWay"]

#: Told what is going on, and what share of the whole is done, 0 to 1.
Observe = Callable[[str, float], None]


@dataclass(slots=True)
class UnderWay:
    """What is known of a variant so far.

    Attributes:
        result: the figures.
        opened: what runs; None when it did not open, or has failed.
        warmed: its warm-up.
        series: its queries, where they were measured in turns.
        warnings: what makes its figures less certain.
    """

    result: Result
    opened: OpenVariant | None = None
    warmed: WarmUp | None = None
    series: Series | None = None
    warnings: list[str] = field(default_factory=list)

    def attempt(self, step: Callable[[OpenVariant], object]) -> None:
        """Do ``step`` unless the variant has failed. If it fails now, keep the reason, and no figures."""
        if self.opened is None:
            return
        try:
            step(self.opened)
        except EdgecnnError as error:
            self.opened = self.series = None
            self.result = Result(variant=self.result.variant, error=str(error))

    @property
    def call_ns(self) -> float:
        """Nanoseconds of one call, when warm."""
        assert self.warmed is not None, "it is warmed up before it is measured"
        return self.warmed.call_ns

"""Which batches are worth forming: never one that is slower per image than a smaller one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["BatchSizes", "worthwhile_sizes"]

#: A larger batch must be faster per image by so much: less is noise, and it makes its first image wait.
_GAIN = 0.97


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """The sizes that batches may have.

    Attributes:
        sizes: ascending, each at least 1. Where the smallest is above 1 (a model that is fixed to a batch),
            what is missing is filled up by whoever runs the batch.
    """

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.sizes or self.sizes[0] < 1 or list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"batch sizes must be ascending numbers from 1 on, not {self.sizes}")

    @property
    def largest(self) -> int:
        """Images of one batch at the most."""
        return self.sizes[-1]

    def take(self, waiting: int, idle: int) -> int:
        """How many of ``waiting`` images (at least 1) go to one of ``idle`` engines (at least 1) now.

        An even share for each engine, cut down to a size that is worth forming.
        """
        share = -(-waiting // idle)
        fitting = [size for size in self.sizes if size <= share]
        return fitting[-1] if fitting else min(waiting, self.sizes[0])

    def padded(self, images: int) -> int:
        """The size of the batch that holds ``images``: the smallest that is large enough."""
        return next(size for size in self.sizes if size >= images)


def worthwhile_sizes(call_ms: Mapping[int, float]) -> BatchSizes:
    """The sizes that are faster per image than every smaller one.

    Args:
        call_ms: median time of a call in milliseconds by its images, all engines busy; at least one.
    """
    kept: list[int] = []
    best = float("inf")
    for size in sorted(call_ms):
        per_image = call_ms[size] / size
        if per_image < _GAIN * best:
            kept.append(size)
            best = per_image
    return BatchSizes(tuple(kept))

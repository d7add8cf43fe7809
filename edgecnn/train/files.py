"""The files of a training run, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecnn.atomic import require_writable, writing
from edgecnn.errors import TrainingError

__all__ = ["RunFiles"]


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where a run writes.

    Attributes:
        checkpoint: the best weights, replaced whenever an epoch is better: NET.pt.
    """

    checkpoint: Path

    @property
    def last(self) -> Path:
        """All that a resume needs, replaced after every epoch and removed at the end: NET.last.pt."""
        return self.checkpoint.with_name(f"{self.checkpoint.stem}.last.pt")

    @property
    def curve(self) -> Path:
        """The learning curve: NET.curve.png."""
        return self.checkpoint.with_name(f"{self.checkpoint.stem}.curve.png")

    def require_writable(self) -> None:
        """Make the folder, and find out now, not after the first epoch, whether files can be made in it.

        Raises:
            TrainingError: the folder cannot be made or written to, or the name is a folder's.
        """
        with writing(self.checkpoint, TrainingError, "Choose another file with -o."):
            require_writable(self.checkpoint)

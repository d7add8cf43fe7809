"""How soon a worker that died is replaced, and when to give up."""

from __future__ import annotations

from edgecnn.serving.workers.settings import SupervisorSettings

__all__ = ["Backoff"]


class Backoff:
    """The record of one worker and its replacements; times are of one monotonic clock, in seconds.

    Attributes:
        early_deaths: how many in a row died before they were ready.
    """

    def __init__(self, settings: SupervisorSettings) -> None:
        self._settings = settings
        self._deaths = 0
        self.early_deaths = 0

    def died(self, now_s: float, ready_since_s: float | None) -> float:
        """Seconds until the replacement is to start: none after the first death, then doubling.

        Args:
            now_s: the time of death.
            ready_since_s: since when it was ready; None if it never was.
        """
        settings = self._settings
        if ready_since_s is None:
            self.early_deaths += 1
        else:
            self.early_deaths = 0
            if now_s - ready_since_s >= settings.stable_s:
                self._deaths = 0
        self._deaths += 1
        if self._deaths == 1:
            return 0.0
        # Beyond 30 doublings it is the longest anyhow, and the power would leave the floats.
        return min(settings.restart_s * 2.0 ** min(self._deaths - 2, 30), settings.longest_restart_s)

    @property
    def hopeless(self) -> bool:
        """Whether it never got ready too often in a row."""
        return self.early_deaths >= self._settings.most_early_deaths

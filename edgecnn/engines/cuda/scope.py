"""What was acquired of CUDA, released as a whole."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from edgecnn.errors import EngineError

__all__ = ["Scope"]


class Scope:
    """Releases in reverse order what was acquired, all of it, whatever fails on the way.

    Unlike ``contextlib.ExitStack`` it never hides the error that ended its block behind one of a release:
    after a failure of the GPU, the releases often fail as well, and say nothing new.
    """

    def __init__(self) -> None:
        self._releases: list[Callable[[], object]] = []

    def on_close(self, release: Callable[[], object]) -> None:
        """Call ``release`` once, at the end."""
        self._releases.append(release)

    def close(self) -> None:
        """Release everything. A second call does nothing.

        Raises:
            EngineError: the first failure of a release, once all others have been tried.
        """
        if failures := self._release_all():
            raise failures[0]

    def hand_over(self) -> Scope:
        """A scope with all that this one holds, which then holds nothing: for what outlives a block."""
        other = Scope()
        other._releases, self._releases = self._releases, []
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        for failure in self._release_all():
            error.add_note(f"Then a release failed: {failure.problem}")

    def _release_all(self) -> list[EngineError]:
        failures = []
        while self._releases:
            try:
                self._releases.pop()()
            except EngineError as failure:
                failures.append(failure)
        return failures

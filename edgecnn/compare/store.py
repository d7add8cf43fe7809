"""What was made and measured so far, by the hashes of all that it depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgecnn.environment import Environment
from edgecnn.errors import ResultError
from edgecnn.reports.result import Result, ResultFile
from edgecnn.reports.result_file import read_results, write_results

__all__ = ["Store", "key_of"]


def key_of(*parts: object) -> str:
    """Sixteen hexadecimal digits of ``parts``, which JSON can hold."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of results, one file for each thing measured.

    Attributes:
        folder: made when something is kept.
        environment: of this machine; speed from another one is not used.
        fresh: whether to overlook what is there.
    """

    folder: Path
    environment: Environment
    fresh: bool = False

    def known(self, key: str) -> tuple[Result, ...] | None:
        """What is kept under ``key``; None where nothing is, or where it cannot be read."""
        path = self._path(key)
        if self.fresh or not path.is_file():
            return None
        try:
            return read_results(path).results
        except ResultError:
            return None

    def remembered(self, key: str, measure: Callable[[], tuple[Result, ...]]) -> tuple[Result, ...]:
        """What is kept under ``key``, or else what ``measure`` finds; results with an error are not kept.

        Raises:
            ResultError: the folder cannot be written.
        """
        known = self.known(key)
        if known is not None:
            return known
        results = measure()
        if all(result.error is None for result in results):
            self.keep(key, results)
        return results

    def keep(self, key: str, results: tuple[Result, ...]) -> None:
        """Keep ``results`` under ``key``.

        Raises:
            ResultError: the folder cannot be written.
        """
        write_results(ResultFile(environment=self.environment, results=results), self._path(key))

    def machine(self) -> tuple[object, ...]:
        """What speed depends on besides the model."""
        here = self.environment
        return here.cpu, here.cores, here.gpu, here.driver, sorted(here.versions.items())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

"""What was made and measured so far, by the hashes of all that it depends on."""

from __future__ import annotations

import hashlib
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

    def known(self, key: str) -> ResultFile | None:
        """What is kept under ``key``, and when it was measured; None where nothing is that can be read."""
        path = self._path(key)
        if self.fresh or not path.is_file():
            return None
        try:
            return read_results(path)
        except ResultError:
            return None

    def keep(self, key: str, results: tuple[Result, ...]) -> None:
        """Keep ``results`` under ``key``.

        Raises:
            ResultError: the folder cannot be written.
        """
        write_results(ResultFile(environment=self.environment, results=results), self._path(key))

    def machine(self) -> tuple[object, ...]:
        """What speed depends on besides the model."""
        here = self.environment
        hardware = (here.cpu, here.cores, here.instruction_sets, here.gpu, here.driver)
        return (*hardware, here.os, here.python, sorted(here.versions.items()))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

"""The models of a server by name and version, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgecnn.serving.faults import BadRequestError, NotFoundError
from edgecnn.serving.model import ServedModel
from edgecnn.serving_config import ModelSettings

__all__ = ["Place", "Places"]


@dataclass(slots=True, eq=False)
class Place:
    """One version of one model.

    Attributes:
        model: as requests see it.
        settings: the file, and how it is run.
        eager: it is loaded at the start; otherwise with the first request for it.
        wanted: nobody has unloaded it on purpose.
        sha256: of the file that is loaded; None while none is.
        memory_bytes: what loading it took.
    """

    model: ServedModel
    settings: ModelSettings
    eager: bool = True
    wanted: bool = True
    sha256: str | None = None
    memory_bytes: int = 0


class Places:
    """A table of places."""

    def __init__(self) -> None:
        self._table: dict[str, dict[str, Place]] = {}

    def __iter__(self) -> Iterator[Place]:
        for versions in self._table.values():
            yield from versions.values()

    def add(self, place: Place) -> None:
        """Add a place, or put it in the stead of the one that has its name and version."""
        versions = self._table.setdefault(place.model.name, {})
        versions[place.model.version] = place
        self._table[place.model.name] = dict(sorted(versions.items(), key=lambda item: int(item[0])))

    def remove(self, place: Place) -> None:
        """Forget a place; requests that found it before still have it."""
        versions = self._table[place.model.name]
        del versions[place.model.version]
        if not versions:
            del self._table[place.model.name]

    def versions(self, name: str) -> dict[str, Place]:
        """All versions of a model, ascending; empty for an unknown one."""
        return self._table.get(name, {})

    def find(self, name: str, version: str | None = None) -> Place:
        """A version of a model: the one that is asked for, or the newest that is ready, or the newest.

        Raises:
            NotFoundError: there is none.
        """
        versions = self._table.get(name)
        if not versions:
            known = ", ".join(sorted(self._table)) or "none"
            raise NotFoundError(f"There is no model {name[:100]!r} here.", f"Models: {known}.")
        if version is not None:
            if version not in versions:
                known = ", ".join(versions)
                raise NotFoundError(
                    f"The model {name!r} has no version {version[:20]!r}.", f"Versions: {known}."
                )
            return versions[version]
        ready = [place for place in versions.values() if place.model.state == "READY"]
        return ready[-1] if ready else list(versions.values())[-1]

    def only_name(self) -> str:
        """The name of the one model.

        Raises:
            BadRequestError: there are several, or none.
        """
        if len(self._table) != 1:
            raise BadRequestError(
                f"The server has {len(self._table)} models.",
                f"Name one of them in the path: {', '.join(sorted(self._table)) or 'none is there'}.",
            )
        return next(iter(self._table))

"""Documents that say the version of their form: one of another version is refused, not guessed at.

Unknown fields are ignored, so that a field can be added without a new version.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from edgecnn.errors import EdgecnnError

__all__ = ["Form"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form of documents in one version, and what is said of a document that has another.

    Attributes:
        schema: what such a document says of itself, "edgecnn.result/1".
        damage: what is said of one that cannot be read, after its name: "is no result of edgecnn".
        error: what is raised.
        newer: what to do about another version, after "Use the edgecnn that wrote it, or": "measure again".
        repair: what to do about one that cannot be read, a sentence.
    """

    schema: str
    damage: str
    error: type[EdgecnnError]
    newer: str
    repair: str

    def from_json(self, text: str | bytes, kind: type[T], *, origin: str) -> T:
        """The value of ``kind`` that the JSON text holds.

        Args:
            text: the document, with its schema.
            kind: a dataclass of its fields; those that it lacks are ignored.
            origin: the file it came from, for the message.

        Raises:
            EdgecnnError: ``error``: not JSON, another version, or a field that is missing or wrong.
        """
        with self.reading(origin):
            self.require(msgspec.json.decode(text, type=_Version).schema, origin)
            return msgspec.json.decode(text, type=kind)

    def require(self, schema: str, origin: str) -> None:
        """Refuse a document that says ``schema`` where that is another version.

        Raises:
            EdgecnnError: ``error``.
        """
        if schema != self.schema:
            raise self.error(
                f"{origin}: its schema is {schema!r}, and this edgecnn reads {self.schema!r}.",
                f"Use the edgecnn that wrote it, or {self.newer}.",
            )

    @contextmanager
    def reading(self, origin: str) -> Iterator[None]:
        """Raise ``error`` for what msgspec finds wrong inside the ``with`` block."""
        try:
            yield
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.error(f"{origin} {self.damage}: {error}.", self.repair) from error

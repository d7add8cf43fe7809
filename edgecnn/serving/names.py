"""Which names a model may have: each is a segment of URLs, a label of metrics and a word of logs."""

from __future__ import annotations

import re

from edgecnn.errors import UsageError

__all__ = ["is_servable", "require_servable"]

#: Letters and digits of any alphabet, and marks that a path holds as they are (RFC 3986, section 3.3).
_NAME = re.compile(r"[\w.~+@:-]+")

#: Steps in a path, and what ``/v2/models/stats`` means already.
_TAKEN = frozenset((".", "..", "stats"))


def is_servable(name: str) -> bool:
    """Whether clients can ask for a model of that name."""
    return _NAME.fullmatch(name) is not None and name not in _TAKEN


def require_servable(name: str, remedy: str) -> None:
    """Refuse a name that clients could not ask for.

    Args:
        name: of a model.
        remedy: how it gets another.

    Raises:
        UsageError: it is empty, has a meaning of its own in paths, or holds something that they do not.
    """
    if not is_servable(name):
        raise UsageError(
            f"{name!r} is no name for a model that is served.",
            f"A name is a part of URLs: letters, digits and . _ ~ + @ : -, other than 'stats'. {remedy}",
        )

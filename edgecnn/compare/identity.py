"""What an engine is, for the keys of what was measured with it."""

from __future__ import annotations

import inspect
from pathlib import Path

from edgecnn.artifact import file_sha256
from edgecnn.engines import ENGINES, engine_type
from edgecnn.engines.choice import EngineChoice
from edgecnn.errors import EdgecnnError

__all__ = ["identity"]


def identity(choice: EngineChoice) -> tuple[str, ...]:
    """The choice's text; of a plug-in, the hash of its source as well: it is likely to be under way."""
    if choice.name in ENGINES:
        return (choice.text,)
    try:
        source = inspect.getsourcefile(inspect.unwrap(engine_type(choice.name)))
    except (EdgecnnError, TypeError):  # it does not load, or was not written in Python
        source = None
    return (choice.text,) if source is None else (choice.text, file_sha256(Path(source)))

"""What a model and an engine are, for the keys of what was measured with them."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

from edgecnn.artifact import Artifact, file_sha256
from edgecnn.engines import ENGINES, engine_type
from edgecnn.engines.choice import EngineChoice
from edgecnn.errors import EdgecnnError
from edgecnn.spec import encode_spec

__all__ = ["content", "identity"]


def content(artifact: Artifact) -> tuple[str, str]:
    """The hash of the artifact's files, and its spec, which of a model made elsewhere is not in them.

    Where a model lies is not what it is: the path, which is the name of unknown weights, is left out.
    """
    spec = artifact.spec
    if spec.weights.kind == "unknown":
        spec = replace(spec, weights=replace(spec.weights, name=""))
    return artifact.sha256(), encode_spec(spec)


def identity(choice: EngineChoice) -> tuple[str, ...]:
    """The choice's text; of a plug-in, the hash of its source as well: it is likely to be under way."""
    if choice.name in ENGINES:
        return (choice.text,)
    try:
        source = inspect.getsourcefile(inspect.unwrap(engine_type(choice.name)))
    except (EdgecnnError, TypeError):  # it does not load, or was not written in Python
        source = None
    return (choice.text,) if source is None else (choice.text, file_sha256(Path(source)))

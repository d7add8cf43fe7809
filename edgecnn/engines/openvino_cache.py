"""Compiled models of OpenVINO, kept on disk.

OpenVINO's own cache (``CACHE_DIR``) writes its files in place, so that one process may read what another has
half written. Here a file appears whole or not at all, and its name is the hash of all that it depends on.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from edgecnn.atomic import replacing
from edgecnn.cache import cache_folder

__all__ = ["cached_blob", "store_blob"]

_LOG = logging.getLogger(__name__)


def cached_blob(made_for: str) -> bytes | None:
    """What :func:`store_blob` stored; None where there is nothing.

    Args:
        made_for: names all that the compiled model depends on.
    """
    try:
        return _path(made_for).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _LOG.warning("The cache of compiled models cannot be read: %s", error)
        return None


def store_blob(made_for: str, blob: bytes) -> None:
    """Store a compiled model; that it cannot be stored is logged, and no failure."""
    try:
        with replacing(_path(made_for)) as temporary:
            temporary.write_bytes(blob)
    except OSError as error:
        _LOG.warning("The compiled model cannot be cached: %s", error)


def _path(made_for: str) -> Path:
    return cache_folder("openvino") / f"{hashlib.sha256(made_for.encode()).hexdigest()}.blob"

"""Where edgecnn keeps what it can make again."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["CACHE_VARIABLE", "cache_folder"]

#: The environment variable that names another place.
CACHE_VARIABLE = "EDGECNN_CACHE"


def cache_folder(purpose: str) -> Path:
    """The folder for ``purpose`` ("artifacts"), which need not exist yet.

    Inside ``$EDGECNN_CACHE``, or else inside ``edgecnn`` in the platform's folder for caches
    (``$XDG_CACHE_HOME`` or ``~/.cache``; on macOS ``~/Library/Caches``; on Windows ``%LOCALAPPDATA%``).
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser() / purpose
    return _platform_folder() / "edgecnn" / purpose


def _platform_folder() -> Path:
    system = platform.system()
    if system == "Darwin":
        return Path.home() / "Library" / "Caches"
    variable = "LOCALAPPDATA" if system == "Windows" else "XDG_CACHE_HOME"
    return Path(os.environ.get(variable) or Path.home() / ".cache")

"""Kernel timings, kept so that the next build need not measure them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecnn.atomic import replacing
from edgecnn.plans.file_lock import locked

__all__ = ["merge_timings", "use_timings"]


def use_timings(config: Any, path: Path) -> str | None:  # noqa: ANN401 - the packages have no types
    """Give the build the timings in ``path``, or an empty cache to fill.

    Returns:
        Why they are not used, if the file is there and TensorRT does not take it.
    """
    known = path.read_bytes() if path.is_file() else b""
    timings = config.create_timing_cache(known)
    if timings is not None and config.set_timing_cache(timings, False):
        return None
    timings = config.create_timing_cache(b"")
    config.set_timing_cache(timings, False)
    return f"The timing cache {path} is of another GPU or TensorRT, or damaged; it is begun anew."


def merge_timings(config: Any, path: Path) -> None:  # noqa: ANN401 - the packages have no types
    """Add the build's timings to those that are in ``path`` by now; other builds may have added theirs.

    Raises:
        OSError: the file cannot be locked or written.
    """
    timings = config.get_timing_cache()
    with locked(path):
        others = config.create_timing_cache(path.read_bytes()) if path.is_file() else None
        if others is not None:
            timings.combine(others, False)  # what is not of this GPU and TensorRT is left out
        with replacing(path) as temporary:
            temporary.write_bytes(memoryview(timings.serialize()))

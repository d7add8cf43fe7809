"""One writer of a file at a time, among processes of one machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["locked"]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of ``path``, a file beside it, and wait for it first.

    The system releases it when the process ends, however that happens; the lock file itself stays.

    Raises:
        OSError: the lock file cannot be made, or the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("ab") as file:
        _wait_for(file)
        yield


if sys.platform == "win32":
    import msvcrt
    import time

    def _wait_for(file: IO[bytes]) -> None:
        while True:
            try:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except PermissionError:  # held by another
                time.sleep(0.05)
            else:
                return

else:
    import fcntl

    def _wait_for(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)

"""Files that are replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgecnn.errors import EdgecnnError

__all__ = ["replacing", "require_writable", "writing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path``, to be written inside the ``with`` block.

    On leaving the block it is flushed to the disk and renamed to ``path``; when the block raises
    (an interrupt included) it is removed, and what was at ``path`` before stays as it was. Missing
    folders are made.

    Raises:
        OSError: the folder cannot be made, or the file cannot be flushed or renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, error: type[EdgecnnError], remedy: str) -> Iterator[None]:
    """Say that ``path`` cannot be written, and why, where that is so inside the ``with`` block.

    Args:
        path: the file, or the folder of several.
        error: what is raised in place of an ``OSError``.
        remedy: what to do next.

    Raises:
        EdgecnnError: ``error``.
    """
    try:
        yield
    except OSError as failure:
        raise error(f"{path} cannot be written: {failure.strerror or failure}.", remedy) from failure


def require_writable(path: Path) -> None:
    """Find out before long work, not after it, whether a file can be made at ``path``; makes its folder.

    Raises:
        OSError: ``path`` is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass

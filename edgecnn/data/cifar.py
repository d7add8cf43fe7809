"""CIFAR-10 and CIFAR-100 through torchvision, downloaded on first use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgecnn.data.arrays import ArrayImages
from edgecnn.data.splits import Split
from edgecnn.errors import DataError, DependencyMissingError

try:
    from torchvision.datasets import CIFAR10, CIFAR100
except ImportError as error:
    raise DependencyMissingError("torchvision", "CIFAR", "export") from error

__all__ = ["open_cifar10", "open_cifar100"]

#: A class of torchvision's, which has no types.
_Kind: TypeAlias = Any


def open_cifar10(directory: Path | None, *, split: Split, announce: Callable[[str], None]) -> ArrayImages:
    """The 10-class set; see :func:`_open`."""
    return _open(CIFAR10, "cifar10", directory, split, announce)


def open_cifar100(directory: Path | None, *, split: Split, announce: Callable[[str], None]) -> ArrayImages:
    """The 100-class set; see :func:`_open`."""
    return _open(CIFAR100, "cifar100", directory, split, announce)


def _open(
    kind: _Kind,
    name: str,
    directory: Path | None,
    split: Split,
    announce: Callable[[str], None],
) -> ArrayImages:
    """One split of a CIFAR set in ``directory``, or in the user's cache; downloaded when it is not there.

    Raises:
        DataError: it is not there and cannot be downloaded.
    """
    folder = directory or _cache() / name
    data = _stored(kind, folder, split)
    if data is None:
        data = _downloaded(kind, folder, split, announce)
    classes = tuple(str(label) for label in data.classes)
    return ArrayImages(
        f"{name}/{split}",
        folder,
        classes,
        np.asarray(data.targets, np.int64),
        np.asarray(data.data, np.uint8),
    )


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgecnn"


def _stored(kind: _Kind, folder: Path, split: Split) -> _Kind | None:
    try:
        return kind(folder, train=split == "train", download=False)
    except RuntimeError:
        return None


def _downloaded(kind: _Kind, folder: Path, split: Split, announce: Callable[[str], None]) -> _Kind:
    announce(f"Downloading {kind.url} to {folder}")
    try:
        return kind(folder, train=split == "train", download=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{kind.url} cannot be downloaded: {error}.",
            f"Without network: put {kind.filename} into {folder}, or use 'digits', an image folder, "
            "a .csv or an .npz.",
        ) from error

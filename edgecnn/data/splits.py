"""The two parts of a data set, and what they are called in folders and files."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

__all__ = ["SPLIT_NAMES", "Split", "split_named"]

Split = Literal["train", "test"]

#: What each part is called, best first: where there are both, "test" is not "val".
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "val", "validation", "valid"),
}


def split_named(split: Split, present: Collection[str]) -> str | None:
    """The name in ``present`` that stands for ``split``; None if there is none."""
    return next((name for name in SPLIT_NAMES[split] if name in present), None)

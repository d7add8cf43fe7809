"""Which of the model's classes each image belongs to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn.data.classes_csv import read_classes_csv
from edgecnn.data.source import LabelledImages
from edgecnn.errors import DataError

__all__ = ["CLASSES_CSV", "map_labels"]

#: The file that maps WordNet ids to class indices, looked for in the data folder and above it.
CLASSES_CSV = "imagenet_classes.csv"

_WORDNET_ID = re.compile(r"n\d{8}")
_IMAGENET_CLASSES = 1000
_GIVE_TABLE = "Pass --classes CSV, a file with the columns index,wnid,name."


def map_labels(
    source: LabelledImages, model_classes: Sequence[str], classes_csv: Path | None = None
) -> NDArray[np.int64]:
    """The model's class index for every image; never by the order of the classes that happen to be there.

    In this order: labels that are already indices; by name, when each of the source's classes is one of the
    model's; through a table, given as ``classes_csv`` or, for WordNet ids, found as ``imagenet_classes.csv``
    in the data folder or above it, or in timm's list of the 1,000; by the rank of the WordNet ids when all
    1,000 are there.

    Args:
        source: labelled images.
        model_classes: the model's class names, in the order of its output.
        classes_csv: columns index, wnid and name; wnid holds what the source calls a class.

    Returns:
        (n,) int64.

    Raises:
        DataError: a class that the model does not have, an ambiguous name, a faulty table, or no way to map.
    """
    if not source.classes:
        return _indices(source, len(model_classes))
    table = _table(source, model_classes, classes_csv)
    missing = [name for name in source.classes if name not in table]
    if missing:
        where = "the model" if classes_csv is None else str(classes_csv)
        raise DataError(
            f"{source.name}: {where} has no class {_few(_strangers(missing) or missing)}.",
            f"Use data of the model's classes. Other names need a table. {_GIVE_TABLE}",
        )
    return np.array([table[name] for name in source.classes], np.int64)[source.labels]


def _strangers(missing: Sequence[str]) -> list[str]:
    """Those of ``missing`` that are neither WordNet ids nor numbers, which other rules could have mapped."""
    return [name for name in missing if not (_WORDNET_ID.fullmatch(name) or name.isdecimal())]


def _indices(source: LabelledImages, count: int) -> NDArray[np.int64]:
    labels = source.labels
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if len(wrong):
        index = int(wrong[0])
        raise DataError(
            f"{source.key(index)}: its label {labels[index]} is not a class of the model, "
            f"which has 0 to {count - 1}.",
            "Use data of the model's classes.",
        )
    return labels


def _table(source: LabelledImages, model_classes: Sequence[str], given: Path | None) -> Mapping[str, int]:
    """The model's index by the source's class name; it may lack some of the source's classes."""
    counts = Counter(model_classes)
    ambiguous = [name for name in source.classes if counts[name] > 1]
    by_name = {name: index for index, name in enumerate(model_classes)}
    if not ambiguous and by_name.keys() >= set(source.classes):
        return by_name
    if given is not None:
        return read_classes_csv(given, len(model_classes))
    if ambiguous:
        raise DataError(
            f"{source.name}: the model has more than one class named {_few(ambiguous)}.", _GIVE_TABLE
        )
    if _are_wordnet_ids(source.classes) and not _are_wordnet_ids(model_classes):
        return _wordnet_table(source, len(model_classes))
    return by_name


def _are_wordnet_ids(names: Sequence[str]) -> bool:
    return all(_WORDNET_ID.fullmatch(name) for name in names)


def _wordnet_table(source: LabelledImages, count: int) -> Mapping[str, int]:
    found = _beside_or_above(source.root)
    if found is not None:
        return read_classes_csv(found, count, complete=True)
    synsets = _timm_synsets() or source.classes
    if count == len(synsets) == _IMAGENET_CLASSES:
        return {name: index for index, name in enumerate(sorted(synsets))}
    raise DataError(
        f"{source.name}: its classes are WordNet ids, those of the model's {count} classes are not known, "
        f"and no {CLASSES_CSV} lies beside or above the data.",
        _GIVE_TABLE,
    )


def _beside_or_above(root: Path | None) -> Path | None:
    if root is None:
        return None
    folder = root.resolve()
    candidates = (place / CLASSES_CSV for place in (folder, *folder.parents))
    return next((path for path in candidates if path.is_file()), None)


def _timm_synsets() -> tuple[str, ...]:
    """timm's list of the 1,000 WordNet ids, read without importing timm (and torch); empty without timm."""
    package = find_spec("timm")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder, "data", "_info", "imagenet_synsets.txt")
        if path.is_file():
            return tuple(path.read_text(encoding="utf-8").split())
    return ()


def _few(names: Sequence[str]) -> str:
    """At most five of ``names``, and how many more there are."""
    more = f" (and {len(names) - 5} more)" if len(names) > 5 else ""
    return ", ".join(repr(name) for name in names[:5]) + more

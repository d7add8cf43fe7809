"""What the classes of each model are called: the models of one document may have different ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgecnn.reports.result import Result

__all__ = ["ClassNames", "class_name"]

#: sha256 of a model that others are compared with -> names of its classes, in order.
ClassNames = Mapping[str, Sequence[str]]


def class_name(index: int, result: Result, known: ClassNames) -> str:
    """The name of class ``index`` of ``result``; its number where neither its reference nor its table tells.

    A quantised model has the classes of its reference. A result without a reference is one itself.
    """
    accuracy = result.accuracy
    reference = None if accuracy is None else accuracy.reference
    names = known.get((reference or result.variant).sha256, ())
    if index < len(names):
        return names[index]
    table = () if accuracy is None else accuracy.per_class or ()
    return next((row.name for row in table if row.index == index), f"class {index}")

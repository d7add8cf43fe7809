"""Resolves "module:attribute" strings: how tables stay lazy while leaf modules import normally."""

from __future__ import annotations

from importlib import import_module

from edgecnn.errors import UsageError

__all__ = ["resolve"]


def resolve(reference: str) -> object:
    """Import what ``reference`` ("package.module:attribute") names.

    Raises:
        UsageError: the reference is malformed, its module does not exist, or it has no such attribute.
        ImportError: the module exists but something that it imports does not.
    """
    module_name, separator, attribute = reference.partition(":")
    if not (module_name and separator and attribute):
        raise UsageError(f"{reference!r} is not a reference.", 'Write it as "package.module:attribute".')
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UsageError(
            f"The module {error.name!r} of {reference!r} does not exist.",
            "Check the spelling, and that its package is installed in this environment.",
        ) from error
    try:
        value: object = getattr(module, attribute)
    except AttributeError as error:
        raise UsageError(
            f"The module {module_name!r} has no attribute {attribute!r}.", "Check the name after the colon."
        ) from error
    return value

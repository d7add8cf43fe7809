"""Options of engines as text: "threads=1,arena=off"."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, get_args

from edgecnn.engines.base import EngineOptions, FloatPrecision, Hint
from edgecnn.errors import UnknownNameError, UsageError

__all__ = ["OPTIONS", "format_options", "parse_options"]


@dataclass(frozen=True, slots=True)
class _Form:
    """How the value of an option is written.

    Attributes:
        shown: in lists of options.
        wanted: what errors ask for.
        read: the value of a text; raises ValueError where it has not that form.
    """

    shown: str
    wanted: str
    read: Callable[[str], object]


def _number(least: int) -> _Form:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise ValueError(text)
        return int(text)

    return _Form("N", f"a whole number of at least {least}", read)


def _one_of(values: dict[str, object]) -> _Form:
    def read(text: str) -> object:
        if text not in values:
            raise ValueError(text)
        return values[text]

    return _Form("|".join(values), " or ".join(values), read)


_SWITCH = _one_of({"on": True, "off": False})

_FORMS = {
    "threads": _number(1),
    "spin": _SWITCH,
    "arena": _SWITCH,
    "precision": _one_of({name: name for name in get_args(FloatPrecision)}),
    "hint": _one_of({name: name for name in get_args(Hint)}),
    "streams": _number(1),
    "batch": _number(1),
    "cache": _SWITCH,
    "device": _number(0),
    "graph": _SWITCH,
}

#: The names of all options.
OPTIONS = frozenset(_FORMS)


def parse_options(engine: str, understands: AbstractSet[str], text: str) -> EngineOptions:
    """The options that ``text`` ("threads=1,arena=off") gives to the engine named ``engine``.

    Raises:
        UsageError: an option that the engine does not understand, one that is given twice, or a value that
            has not the option's form; the remedy lists those that the engine knows.
    """
    listing = f"Options of {engine}: {_listing(understands)}."
    values: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise UsageError(f"{part!r} is not an option.", f"Write it as name=value. {listing}")
        if name not in understands:
            raise UnknownNameError(f"option of the engine {engine!r}", name, understands, listing=listing)
        if name in values:
            raise UsageError(f"The option {name!r} of {engine!r} is given twice.", "Give it once.")
        values[name] = _value(name, value, listing)
    return EngineOptions(**values)


def format_options(options: EngineOptions) -> str:
    """``options`` as :func:`parse_options` reads them, without those left to the engine; "" for none."""
    switches = {True: "on", False: "off"}
    return ",".join(
        f"{name}={switches[value] if isinstance(value, bool) else value}"
        for name, value in options.given().items()
    )


def _listing(understands: AbstractSet[str]) -> str:
    return ", ".join(f"{name}={form.shown}" for name, form in _FORMS.items() if name in understands) or "none"


def _value(name: str, text: str, listing: str) -> object:
    form = _FORMS[name]
    try:
        return form.read(text)
    except ValueError:
        raise UsageError(f"{name}={text}: the value must be {form.wanted}.", listing) from None

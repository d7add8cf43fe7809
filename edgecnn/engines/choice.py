"""An engine and its options, as a user writes them: "ort:threads=1,arena=off"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edgecnn.artifact import Artifact
from edgecnn.engines import ENGINES, Engine, EngineOptions, engine_type, open_engine
from edgecnn.engines.option_text import OPTIONS, format_options, parse_options
from edgecnn.errors import EngineUnavailableError, UnknownNameError, UsageError

__all__ = ["EngineChoice", "open_choice", "parse_choice", "parse_choices"]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engine, opened how.

    Attributes:
        text: what the user wrote, or, of a choice made from another, what would give it;
            :func:`parse_choice` reads it, in another process as well.
        name: of the engine in the table, or "package.module:Class" of a plug-in.
        options: how it is opened.
    """

    text: str
    name: str
    options: EngineOptions

    @property
    def other_options(self) -> str:
        """The options without the number of threads, which reports name on its own; "" for none."""
        return format_options(replace(self.options, threads=None))

    def with_threads(self, threads: int | None) -> EngineChoice:
        """The same with another number of threads; None leaves it to the engine."""
        return _choice(self.name, replace(self.options, threads=threads))

    def preferring(self, **wishes: Any) -> EngineChoice:  # noqa: ANN401 - each option has its own type
        """The same with ``wishes`` (options) where the engine understands them and the user is silent."""
        understands, given = _understands(self.name, unloaded=frozenset()), self.options.given()
        added = {name: wishes[name] for name in wishes if name in understands and name not in given}
        return _choice(self.name, replace(self.options, **added)) if added else self


def parse_choice(text: str) -> EngineChoice:
    """The choice that ``text`` says.

    That is the name of an engine ("ort"), perhaps with options ("ort:threads=1,arena=off"), or a plug-in
    ("package.module:Class", "package.module:Class:threads=1"). The library of an engine in the table is not
    loaded, and need not be installed. A plug-in is imported only to check its options; what keeps it from
    being opened is said by :func:`open_choice`, so that it ends no run of other engines.

    Raises:
        UnknownNameError: no such engine, or no such option of it.
        UsageError: an option's value is wrong, or the plug-in's name is not "package.module:Class".
    """
    name, options = _split(text.strip())
    _require_name(name)
    if options is None:
        return EngineChoice(text.strip(), name, EngineOptions())
    return EngineChoice(
        text.strip(), name, parse_options(name, _understands(name, unloaded=OPTIONS), options)
    )


def parse_choices(text: str) -> tuple[EngineChoice, ...]:
    """The choices of a list: "torch,ort:threads=1,arena=off,openvino" is three engines.

    What follows a comma is an option of the engine before it if it has an equals sign and no colon before it.

    Raises:
        EdgecnnError: as :func:`parse_choice`.
    """
    parts: list[str] = []
    for piece in text.split(","):
        if parts and "=" in piece and ":" not in piece.partition("=")[0]:
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return tuple(parse_choice(part) for part in parts)


def open_choice(choice: EngineChoice, artifact: Artifact) -> Engine:
    """Open ``artifact`` as ``choice`` says. Never falls back to another engine, device or precision.

    Raises:
        UsageError: the plug-in does not exist, is no engine, or does not understand an option.
        EngineUnavailableError: the engine cannot open on this machine; a plug-in that does not load, too.
        EngineError: the artifact does not open in it.
    """
    return open_engine(choice.name, artifact, choice.options)


def _choice(name: str, options: EngineOptions) -> EngineChoice:
    written = format_options(options)
    return EngineChoice(f"{name}:{written}" if written else name, name, options)


def _split(text: str) -> tuple[str, str | None]:
    """Name and options, None for none. A colon belongs to a plug-in's name unless options follow it."""
    head, colon, rest = text.partition(":")
    if head in ENGINES or not colon or "=" in rest.partition(":")[0]:
        return head, rest if colon else None
    attribute, colon, options = rest.partition(":")
    return f"{head}:{attribute}", options if colon else None


def _require_name(name: str) -> None:
    if name in ENGINES:
        return
    module, colon, attribute = name.partition(":")
    if not colon:
        listing = f"Engines: {', '.join(ENGINES)}, and plug-ins: package.module:Class."
        raise UnknownNameError("engine", name, ENGINES, listing=listing)
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise UsageError(f"{name!r} is no name of a plug-in.", "Write it as package.module:Class.")


def _understands(name: str, *, unloaded: frozenset[str]) -> frozenset[str]:
    """The names of the options of the engine ``name``; of a plug-in that does not load, ``unloaded``."""
    if name in ENGINES:
        return ENGINES[name].understands
    try:
        return frozenset(engine_type(name).understands)
    except (UsageError, EngineUnavailableError):
        return unloaded

"""An engine and its options, as a user writes them: "ort:threads=1,arena=off"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edgecnn.artifact import Artifact
from edgecnn.engines import ENGINES, Engine, EngineOptions, engine_type, open_engine
from edgecnn.engines.option_text import format_options, parse_options
from edgecnn.errors import UnknownNameError

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
        """The same with ``wishes`` (options) where the engine understands them and the user is silent.

        Raises:
            EngineUnavailableError: a plug-in does not load.
        """
        understands, given = _understands(self.name), self.options.given()
        added = {name: wishes[name] for name in wishes if name in understands and name not in given}
        return _choice(self.name, replace(self.options, **added)) if added else self


def parse_choice(text: str) -> EngineChoice:
    """The choice that ``text`` says.

    That is the name of an engine ("ort"), perhaps with options ("ort:threads=1,arena=off"), or a plug-in
    ("package.module:Class", "package.module:Class:threads=1"). The library of an engine in the table is not
    loaded, and need not be installed; a plug-in is imported.

    Raises:
        UnknownNameError: no such engine, or no such option of it.
        UsageError: an option's value is wrong, or the plug-in is no engine.
        EngineUnavailableError: the plug-in does not load.
    """
    name, options = _split(text.strip())
    understands = _understands(name)
    given = EngineOptions() if options is None else parse_options(name, understands, options)
    return EngineChoice(text.strip(), name, given)


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
        EngineUnavailableError: the engine cannot open on this machine.
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


def _understands(name: str) -> frozenset[str]:
    if name in ENGINES:
        return ENGINES[name].understands
    if ":" not in name:
        listing = f"Engines: {', '.join(ENGINES)}, and plug-ins: package.module:Class."
        raise UnknownNameError("engine", name, ENGINES, listing=listing)
    return frozenset(engine_type(name).understands)

"""Text of others as one line that is safe to lay out."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: str) -> str:
    """``text`` with white space collapsed, and what cannot be printed replaced by U+FFFD.

    Names of networks, files and classes may hold anything: a line break would break a table, a control
    character an XML document, and a change of the writing direction what stands beside it.
    """
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in " ".join(text.split())
    )

"""How many of a thing, in words."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, thing: str) -> str:
    """Such as "1 variant" and "2 variants"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"

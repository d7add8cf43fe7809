"""Types of command line values that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import click

__all__ = ["BatchType", "FiniteRange", "NumbersType", "SizeType", "WordsType"]


class SizeType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """An image size in pixels: "224" is a square, "192x256" is height x width."""

    name = "size"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows for the value."""
        return "N|HxW"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """(height, width) of ``value``; a tuple, which a default may be, passes unchanged."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,5})(?:[xX×](\d{1,5}))?", str(value).strip(), re.ASCII)  # noqa: RUF001
        if match is None:
            self.fail(f"{value!r} is no size; write 224, or 192x256 for height x width.", param, ctx)
        height, width = int(match[1]), int(match[2] or match[1])
        if height == 0 or width == 0:
            self.fail(f"{value!r} has a side of 0 pixels.", param, ctx)
        return height, width


class BatchType(click.ParamType):  # type: ignore[type-arg]
    """``dynamic`` (None) or a positive number."""

    name = "dynamic|N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """The batch size; None stands for a dynamic one."""
        text = str(value)
        if text != "dynamic" and not (text.isdecimal() and int(text) > 0):
            self.fail(f"{text!r} is neither 'dynamic' nor a positive number.", param, ctx)
        return None if text == "dynamic" else int(text)


class FiniteRange(click.FloatRange):
    """A number within bounds; NaN, which compares with no bound, and infinity are none."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """The number ``value``."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


class NumbersType(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers from 1, separated by commas: "1,2,4"."""

    name = "N,N,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers, each once, in their order; a tuple, which a default may be, passes unchanged."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(re.fullmatch(r"\d{1,9}", part, re.ASCII) and int(part) for part in parts):
            self.fail(f"{value!r} is no list of whole numbers from 1, such as 1,2,4.", param, ctx)
        return tuple(dict.fromkeys(map(int, parts)))


class WordsType(click.ParamType):  # type: ignore[type-arg]
    """Some of a few words, separated by commas: "fp32,int8"."""

    name = "WORD,..."

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The words, each once, in their order; a tuple, which a default may be, passes unchanged."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        for part in parts:
            if part not in self.words:
                self.fail(f"{part!r} is none of {', '.join(self.words)}.", param, ctx)
        return tuple(dict.fromkeys(parts))

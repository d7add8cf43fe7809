"""Types of command line values."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.commands.parameters import BatchType, FiniteRange, NumbersType, SizeType, WordsType


@pytest.mark.parametrize(
    ("text", "size"),
    [("224", (224, 224)), ("192x256", (192, 256)), (" 1X2 ", (1, 2)), ("3×4", (3, 4))],  # noqa: RUF001
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert SizeType().convert(text, None, None) == size


@given(st.integers(1, 99999), st.integers(1, 99999))
def test_height_comes_first(height: int, width: int) -> None:
    assert SizeType().convert(f"{height}x{width}", None, None) == (height, width)


def test_a_default_that_is_a_size_already_passes() -> None:
    assert SizeType().convert((3, 4), None, None) == (3, 4)


@pytest.mark.parametrize("text", ["", "x", "224x", "x224", "-1", "1.5", "1x2x3", "abc", "123456", "٣"])
def test_anything_else_says_what_to_write(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 224, or 192x256"):
        SizeType().convert(text, None, None)


@pytest.mark.parametrize("text", ["0", "0x5", "5x0"])
def test_no_side_is_zero(text: str) -> None:
    with pytest.raises(click.BadParameter, match="0 pixels"):
        SizeType().convert(text, None, None)


def test_the_help_shows_the_form() -> None:
    @click.command()
    @click.option("--size", type=SizeType())
    def command(size: tuple[int, int]) -> None:
        """Nothing."""

    assert "--size N|HxW" in CliRunner().invoke(command, ["--help"]).output


@pytest.mark.parametrize(("text", "batch"), [("dynamic", None), ("1", 1), ("64", 64)])
def test_batches(text: str, batch: int | None) -> None:
    assert BatchType().convert(text, None, None) == batch


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "static", ""])
def test_anything_else_is_no_batch(text: str) -> None:
    with pytest.raises(click.BadParameter, match="neither 'dynamic' nor a positive number"):
        BatchType().convert(text, None, None)


@given(st.lists(st.integers(1, 999), min_size=1, unique=True))
def test_lists_of_numbers(numbers: list[int]) -> None:
    assert NumbersType().convert(", ".join(map(str, numbers)), None, None) == tuple(numbers)


def test_a_number_that_is_named_twice_is_one() -> None:
    assert NumbersType().convert("8,1,8", None, None) == (8, 1)


@pytest.mark.parametrize("text", ["", ",", "1,", "0", "1,0", "-1", "1.5", "1;2", "x", "٣"])
def test_anything_else_is_no_list(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no list of whole numbers from 1"):
        NumbersType().convert(text, None, None)


WORDS = WordsType(("fp32", "fp16", "int8"))


@given(st.lists(st.sampled_from(WORDS.words), min_size=1), st.sampled_from([",", " , "]))
def test_lists_of_words_in_their_order_each_once(words: list[str], comma: str) -> None:
    assert WORDS.convert(comma.join(words), None, None) == tuple(dict.fromkeys(words))


def test_a_default_that_is_a_list_already_passes() -> None:
    assert WORDS.convert(("int8",), None, None) == ("int8",)


@pytest.mark.parametrize("text", ["", ",", "fp32,", "int4", "FP32", "fp32;int8", "fp32 int8"])
def test_another_word_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is none of fp32, fp16, int8"):
        WORDS.convert(text, None, None)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "NaN", "1e999", "-1", "x"])
def test_limits_are_finite(text: str) -> None:
    with pytest.raises(click.BadParameter):
        FiniteRange(min=0).convert(text, None, None)


@given(st.floats(0, 1e300))
def test_numbers_within_the_bounds_pass(number: float) -> None:
    assert FiniteRange(min=0).convert(repr(number), None, None) == number

"""What commands share at the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import pytest
from click.testing import CliRunner

from edgecnn.commands.console import Column, Terminal, terminal_options


@click.command()
@click.argument("word")
@terminal_options
def speak(terminal: Terminal, word: str) -> None:
    """Say a word in every way."""
    terminal.note("a note")
    terminal.detail("a detail")
    terminal.warn("a warning")
    if terminal.json:
        terminal.document({"word": word})
    else:
        terminal.table([Column("Word", number=False), Column("Length")], [[word, len(word)], ["none", None]])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], ["a note", "Warning: a warning"]),
        (["-q"], ["Warning: a warning"]),
        (["-v"], ["a note", "a detail", "Warning: a warning"]),
    ],
)
def test_verbosity(flags: list[str], told: list[str]) -> None:
    result = CliRunner().invoke(speak, ["tree", *flags])
    assert result.stderr.splitlines() == told


def test_the_table_is_for_people() -> None:
    output = CliRunner().invoke(speak, ["[bold]tree"]).stdout
    assert "[bold]tree" in output, "words of the result are not markup"
    assert "│ none" in output
    assert "-" in output.splitlines()[-2]


def test_json_is_alone_on_standard_output() -> None:
    result = CliRunner().invoke(speak, ["tree", "--json"])
    assert json.loads(result.stdout) == {"word": "tree"}


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal().progress("Working", total=3) as advance:
        advance(3)
    assert capsys.readouterr().err == ""


def test_progress_by_shares_never_goes_back_and_ends_with_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    @contextmanager
    def progress(_: Terminal, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        assert (description, total) == ("Working", 100)
        yield steps.append

    monkeypatch.setattr(Terminal, "progress", progress)
    said: list[str] = []
    with Terminal().stages("Working", said.append) as observe:
        for text, share in (("warming up", 0.1), ("measuring", 0.5), ("measuring", 0.3), ("measuring", 1.0)):
            observe(text, share)
    assert steps == [10, 40, 0, 50]
    assert said == ["warming up", "measuring"]

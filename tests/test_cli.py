"""The command line as a whole: help, errors, exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgecnn import cli
from edgecnn.cli import COMMANDS, main
from edgecnn.errors import GateError

README = Path(__file__).parents[1] / "README.md"


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, (_, text) in COMMANDS.items():
        assert re.search(rf"^  {name}\s+{re.escape(text)}$", result.output, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_the_common_options(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    for option in ("--json", "--quiet", "--verbose"):
        assert option in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    unexplained = [
        option.name for option in command.params if isinstance(option, click.Option) and not option.help
    ]
    assert not unexplained


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["exprot"])
    assert result.exit_code == 2
    assert "exprot" in result.output


def test_an_error_is_told_without_a_traceback_and_with_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def failing() -> None:
        raise GateError("Top-1 fell by 2 points.", "Allow it with --max-drop 2.")

    monkeypatch.setitem(cli.COMMANDS, "failing", (f"{__name__}:failing", ""))
    monkeypatch.setattr(cli, "resolve", lambda _: failing)
    result = CliRunner().invoke(main, ["failing"])
    assert result.exit_code == 3
    assert result.stderr == "Error: Top-1 fell by 2 points.\nAllow it with --max-drop 2.\n"
    assert result.stdout == ""


def test_the_readme_names_every_command() -> None:
    text = README.read_text(encoding="utf-8")
    assert not [name for name in COMMANDS if f"edgecnn {name}" not in text]


def _command_that_needs(package: str) -> click.Command:
    @click.command()
    def needing() -> None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    return needing


def test_a_missing_optional_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "resolve", lambda _: _command_that_needs("torch.nn"))
    result = CliRunner().invoke(main, ["export"])
    assert result.exit_code == 1
    assert "needs the package 'torch'" in result.stderr
    assert "pip install 'edgecnn[export]'" in result.stderr


def test_any_other_missing_module_is_a_bug_and_shows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "resolve", lambda _: _command_that_needs("edgecnn.nowhere"))
    result = CliRunner().invoke(main, ["export"])
    assert isinstance(result.exception, ModuleNotFoundError)

"""``edgecnn list``."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner, Result

from edgecnn.cards import card_names, find_card
from edgecnn.cli import main


def run(*arguments: str) -> Result:
    """Run it without a terminal."""
    return CliRunner().invoke(main, ["list", *arguments])


def in_terminal(width: int) -> str:
    """What a terminal of ``width`` columns shows."""
    result = CliRunner().invoke(main, ["list"], env={"COLUMNS": str(width), "TTY_COMPATIBLE": "1"})
    assert result.exit_code == 0
    return click.unstyle(result.output)


def names(output: str) -> list[str]:
    return [line.split()[1] for line in output.splitlines() if line.startswith("│")]


def test_shows_every_network_by_family_year_and_size() -> None:
    result = run()
    assert result.exit_code == 0
    listed = names(result.output)
    assert sorted(listed) == list(card_names())
    cards = [find_card(name) for name in listed]
    assert cards == sorted(cards, key=lambda card: (card.family.lower(), card.year, card.parameters))


def test_row_of_a_network() -> None:
    row = next(line for line in run().output.splitlines() if " mobilenetv1_100 " in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == [
        *("mobilenetv1_100", "MobileNetV1", "MobileNet", "2017", "4.23", "0.569", "224"),
        *("75.4", "92.3", "timm", "ra4_e3600_r224_in1k"),
    ]


def test_row_without_published_weights() -> None:
    row = next(line for line in run().output.splitlines() if " lenet5 " in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[4:] == ["0.061", "0.0003", "32", "-", "-", "edgecnn", "-"]


@pytest.mark.parametrize("family", ["VGG", "vgg", "Vgg"])
def test_one_family(family: str) -> None:
    wanted = ["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]
    assert names(run("--family", family).output) == wanted


def test_unknown_family_exits_with_2_and_the_nearest() -> None:
    result = run("--family", "RestNet")
    assert result.exit_code == 2
    assert "resnet" in result.output


def test_json_is_the_cards() -> None:
    document = json.loads(run("--family", "lenet", "--json").output)
    assert [card["name"] for card in document] == ["lenet5"]
    assert document[0]["preprocess"]["crop"] == [32, 32]
    assert document[0]["pretrained"] is None


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_cell_is_folded_in_a_terminal(width: int) -> None:
    output = in_terminal(width)
    assert max(map(len, output.splitlines())) <= width
    assert sorted(names(output)) == list(card_names())


def test_narrow_terminals_lose_the_least_important_columns_first() -> None:
    heads = {width: in_terminal(width).partition("alexnet")[0] for width in (80, 100, 200)}
    for head in heads.values():
        assert all(title in head for title in ("Name", "Params", "MACs", "Input", "Top-1"))
    assert "Title" in heads[200]
    assert "Weights" in heads[200]
    assert "Title" not in heads[100]
    assert "Family" in heads[100]
    assert "Family" not in heads[80]


def test_a_terminal_too_narrow_for_anything_still_gets_a_table() -> None:
    assert "zfn" in in_terminal(30)


def test_needs_no_heavy_library() -> None:
    code = (
        "import sys; from edgecnn.cli import main; main(['list'], standalone_mode=False);"
        "sys.exit(' '.join({'torch', 'numpy', 'onnx', 'onnxruntime', 'timm'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""``edgecnn profile`` at the terminal."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner, Result

from edgecnn.cli import main
from edgecnn.commands.profile import _magnitude, _rounded


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["profile", *arguments])


def _cells(output: str, layer: str) -> list[str]:
    (line,) = [line for line in output.splitlines() if line.startswith(f"│ {layer} ")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_the_table_of_alexnet() -> None:
    result = _run("alexnet", "--size", "227")
    assert result.exit_code == 0
    assert "alexnet at 3x227x227" in result.output
    assert _cells(result.output, "features.0") == [
        *("features.0", "conv", "3x227x227", "11x11/4/2", "64x56x56", "784", "23", "64", "73", "11x11")
    ]
    assert _cells(result.output, "features.2")[5:9] == ["182", "0", "0", "0"]
    assert _cells(result.output, "classifier.1") == [
        *("classifier.1", "linear", "9216", "-", "4096", "16", "37,749", "4,096", "38", "all")
    ]
    assert "Total: 61.1 M parameters, 0.717 G MACs" in result.output
    assert "receptive field 195x195" in result.output
    assert "without biases, which have a column of their own" in result.output
    assert "features.1 " not in result.output  # an activation


def test_all_layers_and_groups() -> None:
    result = _run("mobilenet_v2", "--all-layers", "--size", "64x96")
    assert result.exit_code == 0
    assert "mobilenet_v2 at 3x64x96" in result.output
    assert _cells(result.output, "features.1.conv.0.0")[3] == "3x3/1/1 groups 32"
    assert _cells(result.output, "features.0.1")[1] == "norm"
    assert _cells(result.output, "features.3.add")[1] == "add"


def test_quiet_leaves_out_the_footnote() -> None:
    assert "For one image" not in _run("cifar_resnet20", "-q").output


def test_json_has_every_layer_in_full() -> None:
    result = _run("cifar_resnet20", "--json")
    document = json.loads(result.output)
    assert document["network"] == "cifar_resnet20"
    assert document["parameters"] == 269722
    assert document["layers"][0] == {
        "name": "conv1",
        "kind": "conv",
        "input_shape": [3, 32, 32],
        "output_shape": [16, 32, 32],
        "window": {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1},
        "activation_bytes": 65536,
        "weights": 432,
        "biases": 0,
        "macs": 442368,
        "receptive_field": {"size": [3, 3], "jump": [1, 1]},
    }
    assert {layer["kind"] for layer in document["layers"]} >= {"conv", "norm", "activation", "add"}


def test_an_unknown_network_names_the_nearest() -> None:
    result = _run("alexnett")
    assert result.exit_code == 2
    assert "Did you mean alexnet" in result.output


def test_a_size_that_is_too_small() -> None:
    result = _run("alexnet", "--size", "30")
    assert result.exit_code == 2
    assert "alexnet does not take an image of 30x30" in result.output


def test_a_size_that_is_none() -> None:
    result = _run("alexnet", "--size", "big")
    assert result.exit_code == 2
    assert "192x256" in result.output


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("edgecnn.profile")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    result = _run("alexnet")
    assert result.exit_code == 1
    assert "edgecnn[export]" in result.output


@pytest.mark.parametrize(
    ("value", "whole_from", "text"),
    [
        (0, 1, "0"),
        (37748.736, 1, "37,749"),
        (1.4, 1, "1"),
        (0.97, 1, "1"),
        (0.15, 1, "0.1"),
        (0.0076, 1, "0.008"),
        (149.5, 10, "150"),
        (9.96, 10, "10"),
        (9.94, 10, "9.9"),
        (4.096, 10, "4.1"),
        (0.0042, 10, "0.004"),
    ],
)
def test_rounding(value: float, whole_from: float, text: str) -> None:
    assert _rounded(value, whole_from=whole_from) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (15_470_264_320, "15.5 G"),
        (716_767_232, "0.717 G"),
        (138_357_544, "138 M"),
        (60_850, "60.9 k"),
        (12, "12"),
    ],
)
def test_totals_have_three_digits(value: int, text: str) -> None:
    assert _magnitude(value) == text

"""``edgecnn compare --weights``: of all networks, of one, and of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecnn.commands import compare as compare_command
from tests.commands.compare.running import Make, Stubs, compare


def test_weights_for_all_for_one_and_of_a_folder(
    stubs: Stubs, folder: Make, reader: Make, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("resnet18.pt", "resnet34.pth", "resnet34.safetensors"):
        (weights / name).touch()
    networks = ("resnet18", "resnet34", "resnet50", reader())
    said = ("--weights", weights, "--weights", "resnet50=a=b/c.pth")
    result = compare(*networks, *said, "--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert stubs.exported == [
        ("resnet18", str(weights / "resnet18.pt")),
        ("resnet34", str(weights / "resnet34.pth")),
        ("resnet50", "a=b/c.pth"),
    ]


def test_a_path_of_weights_may_hold_an_equals_sign(stubs: Stubs) -> None:
    compare("resnet18", "--weights", "runs/lr=0.1/best.pth", "--precision", "fp32")
    assert stubs.exported == [("resnet18", "runs/lr=0.1/best.pth")]


def test_a_folder_without_the_weights_of_a_network_says_so_before_any_export(
    stubs: Stubs, tmp_path: Path
) -> None:
    (tmp_path / "resnet18.pth").touch()
    result = compare("resnet18", "resnet34", "--weights", tmp_path, "--precision", "fp32")
    assert result.exit_code == 2
    assert "has no weights of resnet34: no resnet34.pth, .pt or .safetensors" in result.stderr
    assert "--weights resnet34=PATH|pretrained|random" in result.stderr
    assert stubs.exported == []


def test_no_weights_at_all_is_wrong_usage(reader: Make) -> None:
    result = compare("resnet18", "--precision", "fp32")
    assert result.exit_code == 2
    assert "Pass --weights pretrained" in result.stderr


def test_weights_that_do_not_exist_fail_for_that_network_alone(
    monkeypatch: pytest.MonkeyPatch, reader: Make, stubs: Stubs
) -> None:
    from edgecnn.commands.model_argument import resolve_model

    monkeypatch.setattr(compare_command, "resolve_model", resolve_model)
    result = compare("resnet18", reader(), "--weights", "gone.pth", "--precision", "fp32")
    assert result.exit_code == 1
    assert "gone.pth: there is no such file of weights." in result.stdout
    assert stubs.measured == 1

"""``edgecnn compare``: what makes no sense is told before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.commands.compare.running import Make, Stubs, compare


def test_int8_without_images_says_what_to_pass(stubs: Stubs) -> None:
    result = compare("resnet18", "--weights", "random")
    assert result.exit_code == 2
    assert "Pass --calib DATA" in result.stderr
    assert stubs.exported == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--duration", "0"),
        ("--duration", "-1"),
        ("--duration", "nan"),
        ("--duration", "inf"),
        ("--precision", "int4"),
        ("--precision", ""),
        ("--batch", "0"),
        ("--threads", "0"),
        ("--threads", "1", "--engine", "ort:threads=1"),
        ("--limit", "0"),
        ("--images", "1"),
        ("--max-drop", "-1"),
        ("--max-drop", "nan"),
        ("--engine", "orrt"),
        ("--engine", "ort,,torch"),
        ("--engine", "ort:nonsense=1"),
        ("--data", "nowhere"),
        ("--engine", "torch", "--precision", "fp16"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(stubs: Stubs, reader: Make, arguments: tuple[str, ...]) -> None:
    assert compare(reader(), "--precision", "fp32", *arguments).exit_code == 2
    assert stubs.measured == 0


def test_no_network_is_wrong_usage() -> None:
    assert compare("--precision", "fp32").exit_code == 2


def test_an_unknown_network_is_wrong_usage(reader: Make) -> None:
    result = compare("resnet19", "--weights", "random", "--precision", "fp32")
    assert result.exit_code == 2
    assert "resnet18" in result.stderr


def test_an_empty_data_set_is_refused(stubs: Stubs, reader: Make, tmp_path: Path) -> None:
    data = tmp_path / "empty.npz"
    np.savez(data, x_test=np.zeros((0, 4, 4, 3), np.uint8), y_test=np.zeros(0, np.int64))
    result = compare(reader(), "--data", data, "--precision", "fp32")
    assert result.exit_code == 2
    assert "there is no image in it" in result.stderr
    assert stubs.measured == 0

"""``edgecnn compare``: classes have their names on the page and in the plots."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecnn.artifact import open_artifact, read_onnx, save_artifact
from edgecnn.reports import html
from tests.commands.compare.running import Make, Stubs, compare

REAL_PAGE = html.write_page

ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GERMAN = ("null", "eins", "zwei", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun")


def test_each_network_has_its_own_classes(
    stubs: Stubs, reader: Make, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "write_page", REAL_PAGE)
    networks = [_named(reader("english.onnx"), ENGLISH), _named(reader("german.onnx"), GERMAN)]
    result = compare(*networks, "--data", _images(tmp_path / "images.npz", [1, 7]), "--plots", "plots")
    assert result.exit_code == 0, result.output
    page = (place / "comparison" / "report.html").read_text(encoding="utf-8")
    plot = (place / "plots" / "flips.svg").read_text(encoding="utf-8")
    for text in (page, plot):
        assert "seven" in text
        assert "sieben" in text
    assert "seven → six" in page  # the stub takes 7 for another class
    assert "sieben → sechs" in page
    assert "class 7" not in page


def test_the_errors_of_each_network_are_on_the_page(
    stubs: Stubs, reader: Make, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "write_page", REAL_PAGE)
    networks = [_named(reader("english.onnx"), ENGLISH), _named(reader("german.onnx"), GERMAN)]
    images = _images(tmp_path / "images.npz", [1, 4, 4], stated=[1, 5, 5])
    result = compare(*networks, "--data", images, "--precision", "fp32")
    assert result.exit_code == 0, result.output
    page = (place / "comparison" / "report.html").read_text(encoding="utf-8")
    for expected, chosen in (("four", "five"), ("vier", "fuenf")):
        table = re.search(
            f'<th scope="row">{expected}</th>(<td[^>]*>\\d*</td>)+</tr>\n<tr><th scope="row">{chosen}<', page
        )
        assert table is not None
        assert table[0].count(">2<") == 1
    assert "Wrong images of reader (english) fp32 ort: truth in rows, taken for in columns." in page


def _named(path: Path, classes: tuple[str, ...]) -> Path:
    spec = replace(open_artifact(path).spec, classes=classes)
    return save_artifact(read_onnx(path), spec, path).path


def _images(path: Path, labels: list[int], stated: list[int] | None = None) -> Path:
    """Images whose labels have no names; image i states stated[i], else its label."""
    pixels = np.zeros((len(labels), 4, 4, 3), np.uint8)
    pixels[:, 0, 0, 0] = stated or labels
    np.savez(path, x_test=pixels, y_test=labels, x_train=pixels, y_train=labels)
    return path

"""Stubs of what takes long, and a folder to write into."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecnn.commands import compare as compare_command
from edgecnn.compare import artifacts, matrix
from edgecnn.quantize import guards
from edgecnn.reports import html
from tests.commands.compare.running import Make, Stubs


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch, reader: Make) -> Stubs:
    found = Stubs(reader("stub.onnx"))
    monkeypatch.setattr(artifacts, "quantize_artifact", found.quantise)
    monkeypatch.setattr(matrix, "run_bench", found.bench)
    monkeypatch.setattr(compare_command, "resolve_model", found.resolve)
    monkeypatch.setattr(html, "write_page", lambda *_: None)  # the real one takes a second
    monkeypatch.setattr(guards, "require_disjoint", lambda *_: ())  # nothing is calibrated by stubs
    return found


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"

"""The file and the picture of the mixed precisions that were tried."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecnn.commands.console import Terminal
from edgecnn.commands.quantization_report import save_front
from edgecnn.errors import ResultError
from edgecnn.quantize.fidelity import Fidelity
from edgecnn.quantize.goal import Drop
from edgecnn.quantize.mixed_precision import MixedPoint

POINT = MixedPoint(
    label="all in int8",
    kept_float=(),
    fidelity=Fidelity(noise=0.1, agreement=99.0, images=50),
    drop=Drop(n=50, gained=0, lost=1),
    relative_latency=1.0,
    latency_ci95=(1.0, 1.0),
    met=True,
)


def _outcome(*points: MixedPoint) -> Any:
    return SimpleNamespace(quantised=SimpleNamespace(front=points))


def test_a_file_without_a_front_leaves_none_of_an_earlier_one(tmp_path: Path) -> None:
    model, terminal = tmp_path / "q.int8.onnx", Terminal()
    save_front(_outcome(POINT), model, terminal)
    other = tmp_path / "q.front.json"
    other.touch()
    assert (tmp_path / "q.int8.front.json").exists()
    assert save_front(_outcome(), model, terminal) is None
    assert list(tmp_path.iterdir()) == [other]


def test_without_matplotlib_no_older_picture_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "edgecnn.reports.front_plot", None)
    (tmp_path / "q.front.png").touch()
    save_front(_outcome(POINT), tmp_path / "q.onnx", Terminal())
    assert [path.name for path in tmp_path.iterdir()] == ["q.front.json"]


@pytest.mark.parametrize("name", ["q.front.json", "q.front.png"])
def test_a_front_that_cannot_be_written_is_named_and_the_model_is_not_lost(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    (tmp_path / name).mkdir()
    with pytest.raises(ResultError) as caught:
        save_front(_outcome(POINT), tmp_path / "q.onnx", Terminal())
    assert caught.value.problem.startswith(f"{tmp_path / name} cannot be written: ")
    assert caught.value.remedy.startswith("The model is written")

"""The picture of the mixed precisions that were tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from PIL import Image

from edgecnn.reports.front_plot import FrontPoint, draw_front

POINTS = [
    FrontPoint(label="all in int8", relative_latency=1.0, agreement=93.5, chosen=False),
    FrontPoint(label="+ features.1", relative_latency=1.1, agreement=98.4, chosen=True),
]


@pytest.mark.parametrize("count", [1, 2])
def test_it_is_a_png(count: int, tmp_path: Path) -> None:
    path = tmp_path / "front.png"
    draw_front(POINTS[:count], "m.int8.onnx: layers in float", 97.0, path)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (840, 540))
        assert len(image.convert("RGB").getcolors(2**20) or ()) > 10
    assert [file.name for file in tmp_path.iterdir()] == ["front.png"]


def test_it_shows_points_labels_goal_and_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    places: list[tuple[float, float]] = []
    annotate, scatter = Axes.annotate, Axes.scatter

    def annotated(self: Axes, text: str, *args: Any, **options: Any) -> Any:
        texts.append(text)
        return annotate(self, text, *args, **options)

    def scattered(self: Axes, x: float, y: float, *args: Any, **options: Any) -> Any:
        places.append((x, y))
        return scatter(self, x, y, *args, **options)

    monkeypatch.setattr(Axes, "annotate", annotated)
    monkeypatch.setattr(Axes, "scatter", scattered)
    draw_front(POINTS, "title", 97.0, tmp_path / "front.png")
    assert texts == ["goal 97 %", "all in int8", "+ features.1 (chosen)"]
    assert places == [(1.0, 93.5), (1.1, 98.4)]


def test_an_old_picture_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "front.png"
    path.write_bytes(b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(OSError, match="no space"):
        draw_front(POINTS, "title", 97.0, path)
    assert path.read_bytes() == b"old"

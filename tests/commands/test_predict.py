"""``edgecnn predict`` at the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgecnn.cli import main

Make = Callable[..., Path]


def _predict(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def test_the_most_probable_labels_come_first(reader: Make, image: Make) -> None:
    result = _predict(reader(), image(7), "--top", "3")
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith("│")]
    labels = [row.split("│")[3].strip() for row in rows]
    assert labels == ["class 7", "class 6", "class 8"]
    assert "image.png" in result.stdout


def test_json_holds_probabilities(reader: Make, image: Make) -> None:
    result = _predict(reader(), image(7), image(2, "two.png"), "--top", "10", "--json")
    document = json.loads(result.stdout)
    assert document["engine"]["name"] == "ort"
    first, second = document["predictions"]
    assert (first["top"][0]["index"], first["top"][0]["label"]) == (7, "class 7")
    assert second["top"][0]["index"] == 2
    assert sum(choice["probability"] for choice in first["top"]) == pytest.approx(1)


def test_a_bad_image_is_named_and_the_others_go_on(reader: Make, image: Make, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    result = _predict(reader(), empty, image(3), tmp_path / "gone.jpg")
    assert result.exit_code == 1
    assert "class 3" in result.stdout
    assert f"Error: {empty}: the file is empty" in result.stderr
    assert f"Error: {tmp_path / 'gone.jpg'}: there is no such file" in result.stderr


def test_json_says_which_images_are_bad(reader: Make, image: Make, tmp_path: Path) -> None:
    result = _predict(reader(), tmp_path / "gone.jpg", image(3), "--json")
    assert result.exit_code == 1
    bad, good = json.loads(result.stdout)["predictions"]
    assert (bad["top"], "no such file" in bad["error"]) == ([], True)
    assert (good["top"][0]["index"], good["error"]) == (3, None)


def test_a_folder_is_refused_with_what_to_do(reader: Make, tmp_path: Path) -> None:
    result = _predict(reader(), tmp_path)
    assert result.exit_code == 2
    assert "is a folder" in result.stderr
    assert "edgecnn validate" in result.stderr


def test_a_static_batch_takes_one_image(reader: Make, image: Make) -> None:
    result = _predict(reader(batch=4), image(5), "--top", "1")
    assert result.exit_code == 0, result.output
    assert "class 5" in result.stdout


def test_an_unknown_engine_gets_the_nearest(reader: Make, image: Make) -> None:
    result = _predict(reader(), image(5), "--engine", "torhc")
    assert result.exit_code == 2
    assert "Did you mean torch" in result.stderr


def test_an_engine_takes_options(reader: Make, image: Make) -> None:
    result = _predict(reader(), image(7), "--engine", "ort:threads=1,arena=off", "--json")
    assert json.loads(result.stdout)["engine"]["threads"] == 1
    wrong = _predict(reader(), image(7), "--engine", "ort:aren=off")
    assert wrong.exit_code == 2
    assert "Did you mean arena?" in wrong.stderr


def test_a_model_file_in_onnx_runtime_needs_no_torch(reader: Make, image: Make) -> None:
    arguments = ["predict", str(reader()), str(image(5)), "--top", "1"]
    script = (
        "import sys\n"
        "from edgecnn.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        "print([name for name in ('torch', 'torchvision', 'timm', 'scipy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "class 5" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"

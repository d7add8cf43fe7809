"""Image folders."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.data import open_source
from edgecnn.errors import DataError, ImageError


def test_classes_and_files_are_sorted_and_sub_folders_searched(tmp_path: Path, write_image: Any) -> None:
    for relative in ("dog/b.png", "dog/a.JPG", "cat/deep/er/x.webp", "cat/y.bmp"):
        write_image(relative)
    source = open_source(str(tmp_path))
    assert source.classes == ("cat", "dog")
    keys = [source.key(index) for index in range(len(source))]
    assert keys == ["cat/deep/er/x.webp", "cat/y.bmp", "dog/a.JPG", "dog/b.png"]
    assert source.labels.tolist() == [0, 0, 1, 1]
    assert source.image(3).size == (4, 3)
    assert source.content(3) == (tmp_path / "dog" / "b.png").read_bytes()


def test_hidden_and_other_files_are_left_out(tmp_path: Path, write_image: Any) -> None:
    for relative in ("cat/1.png", "cat/.2.png", ".cache/x/3.png", "cat/.thumbs/4.png"):
        write_image(relative)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "LICENSE").write_text("no folder")
    source = open_source(str(tmp_path))
    assert source.classes == ("cat",)
    assert len(source) == 1


def test_a_broken_image_is_named_when_it_is_read(tmp_path: Path, write_image: Any) -> None:
    path = write_image("cat/1.png")
    path.write_bytes(b"")
    source = open_source(str(tmp_path))
    with pytest.raises(ImageError, match=r"cat.1\.png: the file is empty"):
        source.image(0)


def test_a_broken_link_is_not_left_out_but_named(tmp_path: Path, write_image: Any) -> None:
    write_image("cat/1.png")
    (tmp_path / "cat" / "2.png").symlink_to(tmp_path / "gone.png")
    source = open_source(str(tmp_path))
    with pytest.raises(ImageError, match="there is no such file"):
        source.content(1)


def test_linked_classes_count_and_links_in_circles_end(tmp_path: Path, write_image: Any) -> None:
    write_image("elsewhere/1.png")
    data = tmp_path / "data"
    data.mkdir()
    (data / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    assert len(open_source(str(data))) == 1


@pytest.mark.parametrize("test_name", ["test", "val", "validation"])
def test_a_folder_with_splits_gives_the_one_asked_for(
    test_name: str, tmp_path: Path, write_image: Any
) -> None:
    write_image("train/cat/1.png")
    write_image(f"{test_name}/cat/2.png")
    for split, file in (("train", "1.png"), ("test", "2.png")):
        source = open_source(str(tmp_path), split=split)  # type: ignore[arg-type]
        assert Path(source.key(0)).name == file
        assert len(source) == 1


def test_test_is_preferred_to_val(tmp_path: Path, write_image: Any) -> None:
    for name in ("train", "val", "test"):
        write_image(f"{name}/cat/{name}.png")
    assert Path(open_source(str(tmp_path)).key(0)).name == "test.png"


def test_a_missing_split_is_named(tmp_path: Path, write_image: Any) -> None:
    write_image("train/cat/1.png")
    with pytest.raises(DataError, match="has the splits train, and none of test, val"):
        open_source(str(tmp_path))


def test_a_class_may_be_called_train_among_others(tmp_path: Path, write_image: Any) -> None:
    write_image("train/1.png")
    write_image("plane/2.png")
    assert open_source(str(tmp_path)).classes == ("plane", "train")


def test_a_folder_of_images_without_classes_is_refused(tmp_path: Path, write_image: Any) -> None:
    write_image("1.png")
    with pytest.raises(DataError, match="has no sub-folders"):
        open_source(str(tmp_path))


def test_an_empty_class_is_named(tmp_path: Path, write_image: Any) -> None:
    write_image("cat/1.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match="dog: this class has no images"):
        open_source(str(tmp_path))


@pytest.mark.slow
def test_50_000_files_open_in_about_a_second(tmp_path: Path) -> None:
    for name in range(100):
        folder = tmp_path / f"n{name:08}"
        folder.mkdir()
        for file in range(500):
            (folder / f"{file}.JPEG").touch()
    start = time.perf_counter()
    source = open_source(str(tmp_path))
    seconds = time.perf_counter() - start
    assert len(source) == 50_000
    assert np.bincount(source.labels).tolist() == [500] * 100
    assert seconds < 2  # a quarter of a second alone on one core; room for a busy machine


def test_keys_are_the_same_wherever_the_data_lies_and_however_it_is_named(
    tmp_path: Path, write_image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("here", "there/deep"):
        write_image(f"{place}/cat/sub/1.png")
    monkeypatch.chdir(tmp_path / "here")
    for name in (".", "../here", str(tmp_path / "here"), "../there/deep/"):
        source = open_source(name)
        assert [source.key(index) for index in range(len(source))] == ["cat/sub/1.png"]
        assert source.image(0).size == (4, 3)

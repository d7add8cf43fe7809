"""What a user may give as data, and what each form offers."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.data import LabelledImages, Split, open_source
from edgecnn.errors import DataError, DependencyMissingError, EmptyDataError, UsageError

needs_sklearn = pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed")


@pytest.fixture
def forms(tmp_path: Path, write_image: Any) -> dict[str, str]:
    """One of each local form, two images of two classes in it."""
    write_image("folder/cat/1.png")
    write_image("folder/dog/2.png")
    table = tmp_path / "list.csv"
    table.write_text("path,label\nfolder/cat/1.png,cat\nfolder/dog/2.png,dog\n")
    pixels = np.arange(2 * 5 * 4 * 3, dtype=np.uint8).reshape(2, 5, 4, 3)
    arrays = tmp_path / "set.npz"
    np.savez(arrays, x_test=pixels, y_test=np.array([0, 1]), classes=np.array(["cat", "dog"]))
    return {"folder": str(tmp_path / "folder"), "csv": str(table), "npz": str(arrays)}


@pytest.mark.parametrize("form", ["folder", "csv", "npz"])
def test_every_form_keeps_the_contract(form: str, forms: dict[str, str]) -> None:
    assert_contract(open_source(forms[form]))
    assert open_source(forms[form]).classes == ("cat", "dog")


@pytest.mark.slow
@needs_sklearn
def test_digits_keep_the_contract() -> None:
    assert_contract(open_source("digits"))


def assert_contract(source: LabelledImages) -> None:
    assert source.name
    assert source.labels.dtype == np.int64
    assert source.labels.shape == (len(source),)
    assert set(source.labels.tolist()) <= set(range(len(source.classes)))
    keys = [source.key(index) for index in range(len(source))]
    assert len(set(keys)) == len(source)
    for index in (0, len(source) - 1):
        assert source.image(index).mode == "RGB"
        assert source.content(index)
    assert source.root is None or source.root.is_dir()


@pytest.mark.parametrize("text", ["digit", "digits:1", "no/such/folder", "none.csv"])
def test_what_is_not_there_is_said_with_the_forms(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no such data") as failure:
        open_source(text)
    assert "digits, cifar10[:DIR]" in failure.value.remedy


def test_another_kind_of_file_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match=r"notes\.txt is no source") as failure:
        open_source(str(tmp_path / "notes.txt"))
    assert "one sub-folder per class" in failure.value.remedy


@needs_sklearn
def test_a_folder_named_like_a_data_set_is_given_with_its_path(
    tmp_path: Path, write_image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image("digits/seven/7.png")
    monkeypatch.chdir(tmp_path)
    assert open_source("./digits").classes == ("seven",)
    assert len(open_source("digits")) == 364


def test_nothing_heavy_is_imported_for_a_folder(forms: dict[str, str]) -> None:
    code = (
        "import sys; from edgecnn.data import open_source, map_labels;"
        f"source = open_source({forms['folder']!r}); map_labels(source, ('cat', 'dog')); source.image(0);"
        "print([name for name in ('torch', 'torchvision', 'timm', 'sklearn') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@needs_sklearn
def test_digits_are_split_once_and_for_all() -> None:
    splits: tuple[Split, Split] = ("train", "test")
    train, test = (open_source("digits", split=split) for split in splits)
    assert (len(train), len(test)) == (1433, 364)
    shares = np.bincount(test.labels) / (np.bincount(test.labels) + np.bincount(train.labels))
    assert shares.min() > 0.19
    assert shares.max() < 0.22
    assert train.classes == test.classes == tuple("0123456789")
    pixels = np.stack([np.asarray(test.image(index)) for index in range(20)])
    assert pixels.shape == (20, 8, 8, 3)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert test.key(12) == "digits/test[12]"


def test_digits_without_scikit_learn_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DependencyMissingError, match=r"edgecnn\[train\]"):
        open_source("digits")


def test_an_unreadable_folder_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("kind", ["folder", "classes", "csv", "npz"])
def test_what_holds_no_image_is_an_error_of_usage(kind: str, tmp_path: Path) -> None:
    if kind == "folder":
        path = tmp_path / "nothing"
        path.mkdir()
    elif kind == "classes":
        path = tmp_path / "hollow"
        for name in ("cat", "dog"):
            (path / name).mkdir(parents=True)
    elif kind == "csv":
        path = tmp_path / "empty.csv"
        path.write_text("path,label\n")
    else:
        path = tmp_path / "empty.npz"
        np.savez(path, x_test=np.zeros((0, 8, 8, 3), np.uint8), y_test=np.zeros(0, np.int64))
    with pytest.raises(EmptyDataError, match=re.escape(str(path))) as caught:
        open_source(str(path))
    assert caught.value.exit_code == 2

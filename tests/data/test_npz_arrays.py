"""Images in .npz files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.data import open_source
from edgecnn.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), np.uint8)
GOOD: dict[str, Any] = {
    "x_test": PIXELS,
    "y_test": np.array([1, 0, 1], np.uint8),
    "classes": np.array(["cat", "dog"]),
}


@pytest.fixture
def save(tmp_path: Path) -> Any:
    """Writes set.npz with the good arrays, some replaced or, by None, left out."""

    def write(**changes: Any) -> str:
        arrays = {name: array for name, array in (GOOD | changes).items() if array is not None}
        np.savez(tmp_path / "set.npz", **arrays)
        return str(tmp_path / "set.npz")

    return write


def test_pixels_labels_and_classes(save: Any, tmp_path: Path) -> None:
    source = open_source(save())
    assert source.classes == ("cat", "dog")
    assert source.labels.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(np.asarray(source.image(2)), PIXELS[2])
    assert source.content(2) == PIXELS[2].tobytes()
    assert source.key(2) == "set/test[2]"
    assert source.root == tmp_path


def test_without_classes_labels_are_indices(save: Any) -> None:
    source = open_source(save(classes=None, y_test=np.array([7, 0, 9])))
    assert source.classes == ()
    assert source.labels.tolist() == [7, 0, 9]


def test_the_training_split(save: Any) -> None:
    path = save(x_train=PIXELS[:1], y_train=np.array([0]))
    assert len(open_source(path, split="train")) == 1
    assert len(open_source(path)) == 3


def test_only_the_asked_split_is_read(save: Any) -> None:
    assert len(open_source(save(x_train=np.array(["broken"]), y_train=np.array([None])))) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None}, "has no array x_test; it holds y_test, classes"),
        ({"y_test": None}, "has no array y_test"),
        ({"x_test": PIXELS / 255}, "x_test is float64, not uint8"),
        ({"x_test": PIXELS.transpose(0, 3, 1, 2)}, "not \\(N, H, W, 3\\).*channels-first"),
        ({"x_test": PIXELS[..., 0]}, r"x_test has shape \(3, 5, 4\), not"),
        ({"x_test": PIXELS[:0], "y_test": np.array([], np.int64)}, "there is no image"),
        ({"x_test": np.array([None] * 3)}, "x_test cannot be read: Object arrays"),
        ({"y_test": np.array([0.0, 1.0, 0.0])}, "y_test is float64, not integers"),
        ({"y_test": np.array([0, 1])}, r"y_test has shape \(2,\), and there are 3 images"),
        ({"y_test": np.array([[0], [1], [0]])}, r"y_test has shape \(3, 1\)"),
        ({"y_test": np.array([0, 2, 0])}, r"y_test\[1\] is 2, not one of 0 to 1"),
        ({"y_test": np.array([0, 0, -1])}, r"y_test\[2\] is -1"),
        ({"classes": None, "y_test": np.array([0, 0, -1])}, r"y_test\[2\] is -1, and labels count from 0"),
        ({"classes": np.array(["cat", "cat"])}, "classes has 'cat' more than once"),
        ({"classes": np.array([1, 2])}, "classes is int64"),
        ({"classes": np.array([["cat", "dog"]])}, "classes is .* of shape"),
        ({"classes": np.array(["cat", None])}, "classes cannot be read: Object arrays"),
    ],
)
def test_faults_are_named(changes: dict[str, Any], message: str, save: Any) -> None:
    with pytest.raises(DataError, match=message) as failure:
        open_source(save(**changes))
    assert "set.npz" in failure.value.problem


def test_a_training_split_that_is_not_there(save: Any) -> None:
    with pytest.raises(DataError, match="has no array x_train"):
        open_source(save(), split="train")


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match="cannot be read"):
        open_source(str(path))
    with path.open("wb") as file:
        np.save(file, PIXELS)
    with pytest.raises(DataError, match="single array"):
        open_source(str(path))


def test_a_truncated_file(save: Any) -> None:
    path = Path(save())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        open_source(str(path))


def test_an_array_that_claims_more_than_any_memory(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999, 9, 9, 3), }"
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as file:
        file.writestr("x_test.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match="x_test cannot be read"):
        open_source(str(tmp_path / "set.npz"))


@pytest.mark.realdata
def test_the_cifar_subset(real_data: Path) -> None:
    path = str(real_data / "cifar10" / "cifar10_subset.npz")
    assert len(open_source(path)) == 2000
    assert len(open_source(path, split="train")) == 8500

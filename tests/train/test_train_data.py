"""Sources for training: splits, classes, labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.cards import find_card
from edgecnn.checkpoint import Checkpoint, save_checkpoint
from edgecnn.data.arrays import ArrayImages
from edgecnn.errors import DataError, UsageError
from edgecnn.train.settings import TrainSettings
from edgecnn.train.sources import TrainData, open_train_data
from edgecnn.train.start import Start, start_training
from edgecnn.weights import load_network

Bars = Callable[..., ArrayImages]


def _folder(path: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (path / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8), (index, 0, 0)).save(path / name / f"{index}.png")
    return path


def test_splits_of_the_data_are_used() -> None:
    notes: list[str] = []
    data = open_train_data("digits", None, notes.append)
    assert (len(data.train), len(data.val), notes) == (1433, 364, [])


def test_a_folder_without_splits_holds_out_a_fifth_of_each_class(tmp_path: Path) -> None:
    notes: list[str] = []
    data = open_train_data(str(_folder(tmp_path / "pets", {"cat": 10, "dog": 7})), None, notes.append)
    keys = [{source.key(i) for i in range(len(source))} for source in (data.train, data.val)]
    assert not keys[0] & keys[1]
    assert np.bincount(data.val.labels).tolist() == [2, 1]
    assert np.bincount(data.train.labels).tolist() == [8, 6]
    assert notes == ["pets has no splits: every 5th image of each class is held out for validation."]


def test_files_of_one_name_in_the_folders_of_two_splits_are_two_images(tmp_path: Path) -> None:
    for split in ("train", "val"):
        _folder(tmp_path / "pets" / split, {"cat": 6})
    data = open_train_data(str(tmp_path / "pets"), None, print)
    assert (len(data.train), len(data.val)) == (6, 6)


def test_a_folder_that_is_named_in_another_way_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _folder(tmp_path / "pets", {"cat": 6})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="6 of the 6 validation images are also trained on"):
        open_train_data(str(folder), "pets", print)


def test_a_folder_too_small_to_hold_anything_out(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "pets", {"cat": 4, "dog": 4})
    with pytest.raises(DataError, match="no class has 5 images"):
        open_train_data(str(folder), None, print)


def test_judging_by_the_images_that_were_trained_on_is_refused(tmp_path: Path) -> None:
    folder = str(_folder(tmp_path / "pets", {"cat": 6, "dog": 6}))
    with pytest.raises(DataError, match="12 of the 12 validation images are also trained on"):
        open_train_data(folder, folder, print)


def test_data_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="nowhere"):
        open_train_data("nowhere", None, print)


def _start(train: ArrayImages, val: ArrayImages, weights: str = "random") -> tuple[Start, list[str]]:
    notes: list[str] = []
    settings = TrainSettings(epochs=1, weights=weights)
    return start_training(find_card("lenet5"), settings, TrainData(train, val), notes.append), notes


def test_one_class_is_refused(bars: Bars) -> None:
    with pytest.raises(DataError, match="has 1 class"):
        _start(bars(3, classes=("top",)), bars(3))


def test_a_class_without_images_is_named(bars: Bars) -> None:
    source = bars(3)
    keep = source.labels != 1
    lacking = ArrayImages("few", None, source.classes, source.labels[keep], source.pixels[keep])
    with pytest.raises(DataError, match="no image of 1 of its 3 classes: bottom"):
        _start(lacking, source)


def test_validation_images_of_other_classes_are_refused(bars: Bars) -> None:
    with pytest.raises(DataError, match="not trained: left"):
        _start(bars(3), bars(3, classes=("top", "left")))


def test_validation_images_may_lack_classes_and_order_them_otherwise(bars: Bars) -> None:
    start, _ = _start(bars(2), bars(1, classes=("middle", "top")))
    assert start.network.classes == ("top", "bottom", "middle")
    assert start.val_labels.tolist() == [2, 0]


def test_labels_without_names_become_names(bars: Bars) -> None:
    source = bars(2)
    plain = ArrayImages("plain", None, (), source.labels, source.pixels)
    start, notes = _start(plain, plain)
    assert start.network.classes == ("0", "1", "2")
    assert notes == []


def _weights(path: Path, classes: tuple[str, ...]) -> str:
    network = load_network(find_card("lenet5"), "random", seed=7, classes=classes)
    state = dict(network.module.state_dict())
    save_checkpoint(Checkpoint("lenet5", classes, network.preprocess, state), path)
    return str(path)


def test_the_same_classes_in_another_order_keep_the_head(tmp_path: Path, bars: Bars) -> None:
    weights = _weights(tmp_path / "w.pt", ("middle", "top", "bottom"))
    source = bars(1)
    start, notes = _start(source, source, weights)
    assert start.network.classes == ("middle", "top", "bottom")
    assert start.train_labels.tolist() == [1, 2, 0]
    assert notes == []


def test_other_classes_get_a_new_head_and_keep_the_body(tmp_path: Path, bars: Bars) -> None:
    weights = _weights(tmp_path / "w.pt", ("a", "b", "c", "d"))
    start, notes = _start(bars(1), bars(1), weights)
    given = load_network(find_card("lenet5"), weights).module.state_dict()
    state = start.network.module.state_dict()
    changed = {key for key in state if state[key].shape != given[key].shape}
    assert changed
    assert all(given[key].shape[0] == 4 and state[key].shape[0] == 3 for key in changed)
    assert all((state[key] == given[key]).all() for key in state.keys() - changed)
    assert notes == [
        "The weights are for 4 other classes: the head is new, for 3 classes; everything before it is kept."
    ]

"""CIFAR through torchvision, on files in its own format made here."""

from __future__ import annotations

import hashlib
import pickle
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.data import open_source
from edgecnn.errors import DataError, DependencyMissingError

datasets = pytest.importorskip("torchvision.datasets")


def write_batch(path: Path, content: dict[str, Any]) -> list[str]:
    """One pickled file, and its entry (name, md5) in torchvision's lists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return [path.name, hashlib.md5(path.read_bytes()).hexdigest()]


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three images for testing and two for training."""
    folder = tmp_path / "cifar-10-batches-py"
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3072), np.uint8)
    kind = datasets.CIFAR10
    test = write_batch(folder / "test_batch", {"data": pixels[:3], "labels": [2, 0, 1]})
    train = write_batch(folder / "data_batch_1", {"data": pixels[3:], "labels": [1, 1]})
    name, digest = write_batch(folder / "batches.meta", {"label_names": ["plane", "car", "bird"]})
    monkeypatch.setattr(kind, "test_list", [test])
    monkeypatch.setattr(kind, "train_list", [train])
    monkeypatch.setattr(kind, "meta", {"filename": name, "key": "label_names", "md5": digest})
    return tmp_path


def test_what_is_stored_is_read_without_a_download(cifar10: Path) -> None:
    said: list[str] = []
    source = open_source(f"cifar10:{cifar10}", announce=said.append)
    assert not said
    assert source.classes == ("plane", "car", "bird")
    assert source.labels.tolist() == [2, 0, 1]
    assert source.image(0).size == (32, 32)
    assert source.name == "cifar10/test"
    assert len(open_source(f"cifar10:{cifar10}", split="train", announce=said.append)) == 2


def refuse(*_: Any, **__: Any) -> Any:
    raise urllib.error.URLError("no network in this test")


def test_without_network_the_offline_choices_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"cifar-100-python\.tar\.gz cannot be downloaded") as failure:
        open_source("cifar100")
    assert str(tmp_path / "edgecnn" / "cifar100") in failure.value.remedy
    assert "'digits'" in failure.value.remedy
    announced = capsys.readouterr().err
    assert announced.startswith("Downloading https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz to")


def test_without_torchvision_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "edgecnn.data.cifar", raising=False)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(DependencyMissingError, match=r"edgecnn\[export\]"):
        open_source("cifar10")

"""From the labels of a source to the classes of a model."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgecnn.data.labels as labels_module
from edgecnn.cards import label_set
from edgecnn.data import map_labels, open_source
from edgecnn.data.arrays import ArrayImages
from edgecnn.errors import DataError

WNIDS = [f"n{index:08}" for index in range(1000)]
needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
IMAGENET = label_set("imagenet1k")


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_module, "find_spec", lambda name: None)


@given(st.permutations(["ant", "bee", "cat", "dog", "eel"]), st.data())
def test_by_name_whatever_the_order(order: list[str], data: st.DataObject) -> None:
    present = sorted(data.draw(st.sets(st.sampled_from(order), min_size=1)))
    truth = data.draw(st.lists(st.sampled_from(present), min_size=1))
    source = ArrayImages(
        "made",
        None,
        tuple(present),
        np.array([present.index(name) for name in truth], np.int64),
        np.zeros((len(truth), 1, 1, 3), np.uint8),
    )
    assert [order[index] for index in map_labels(source, order)] == truth


def test_a_class_that_the_model_lacks_is_named(make_source: Any) -> None:
    source = make_source(["ant", "bee", "yak"], [0, 1, 2], name="zoo")
    with pytest.raises(DataError, match="zoo: the model has no class 'yak'") as failure:
        map_labels(source, ["ant", "bee"])
    assert "--classes" in failure.value.remedy


def test_at_most_five_are_named(make_source: Any) -> None:
    source = make_source([f"c{index}" for index in range(9)], [0])
    with pytest.raises(DataError, match=r"'c0', 'c1', 'c2', 'c3', 'c4' \(and 4 more\)\.") as failure:
        map_labels(source, ["ant"])
    assert "c5" not in str(failure.value)


def test_a_name_that_two_classes_have_is_refused(make_source: Any, tmp_path: Path) -> None:
    model = ["goldfish", "crane", "crane"]  # the bird and the machine, as in many ImageNet lists
    source = make_source(["crane", "goldfish"], [0, 1])
    with pytest.raises(DataError, match="more than one class named 'crane'"):
        map_labels(source, model)
    assert map_labels(make_source(["goldfish"], [0]), model).tolist() == [0]
    table = tmp_path / "table.csv"
    table.write_text("index,wnid,name\n2,crane,\n0,goldfish,\n")
    assert map_labels(source, model, table).tolist() == [2, 0]


def test_indices_pass_through_in_range(make_source: Any) -> None:
    assert map_labels(make_source([], [2, 0]), ["a", "b", "c"]).tolist() == [2, 0]
    with pytest.raises(DataError, match=r"made\[1\]: its label 3 is not a class of the model.*0 to 2"):
        map_labels(make_source([], [0, 3]), ["a", "b", "c"])


@pytest.mark.parametrize("place", ["data", "data/eval", "."])
def test_a_table_beside_or_above_the_data_is_found(
    place: str, tmp_path: Path, write_image: Any, without_timm: None
) -> None:
    write_image("data/eval/n00000002/1.png")
    write_image("data/eval/n00000000/2.png")
    (tmp_path / place / "imagenet_classes.csv").write_text(
        "index,wnid,name\n0,n00000002,x\n1,n00000001,y\n2,n00000000,z\n"
    )
    source = open_source(str(tmp_path / "data" / "eval"))
    assert map_labels(source, ["x", "y", "z"]).tolist() == [2, 0]


def test_a_table_that_is_found_must_fit_the_model(tmp_path: Path, make_source: Any) -> None:
    (tmp_path / "imagenet_classes.csv").write_text("index,wnid,name\n0,n00000000,x\n")
    source = make_source(["n00000000"], [0], root=tmp_path)
    with pytest.raises(DataError, match="gives 1 classes, and the model has 3"):
        map_labels(source, ["x", "y", "z"])


def test_a_given_table_wins_over_one_that_is_found(tmp_path: Path, make_source: Any) -> None:
    (tmp_path / "imagenet_classes.csv").write_text("index,wnid,name\n0,n00000000,x\n1,n00000001,y\n")
    given_table = tmp_path / "mine.csv"
    given_table.write_text("wnid,index\nn00000000,1\n")
    source = make_source(["n00000000"], [0], root=tmp_path)
    assert map_labels(source, ["x", "y"], given_table).tolist() == [1]


def test_a_given_table_that_lacks_a_class(tmp_path: Path, make_source: Any) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("index,wnid,name\n0,n00000000,x\n")
    with pytest.raises(DataError, match=r"mine\.csv has no class 'n00000001'"):
        map_labels(make_source(["n00000000", "n00000001"], [0]), ["x", "y"], table)


@needs_timm
def test_timms_list_is_used_and_timm_not_imported(make_source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    source = make_source(["n01443537", "n01440764", "n15075141"], [0, 1, 2])
    assert map_labels(source, IMAGENET).tolist() == [1, 0, 999]
    assert "timm" not in sys.modules


def test_the_rank_counts_only_when_all_1000_are_there(make_source: Any, without_timm: None) -> None:
    everything = make_source(WNIDS, list(range(999, -1, -1)))
    assert map_labels(everything, IMAGENET).tolist() == list(range(999, -1, -1))
    with pytest.raises(DataError, match="WordNet ids") as failure:
        map_labels(make_source(WNIDS[:999], [0]), IMAGENET)
    assert "--classes CSV" in failure.value.remedy


def test_wordnet_ids_say_nothing_about_a_model_of_other_classes(make_source: Any) -> None:
    with pytest.raises(DataError, match="those of the model's 2 classes are not known"):
        map_labels(make_source(["n01440764"], [0]), ["a", "b"])


def test_a_model_whose_classes_are_wordnet_ids(make_source: Any) -> None:
    source = make_source(["n00000001", "n00000005"], [0, 1])
    assert map_labels(source, ["n00000005", "n00000003", "n00000001"]).tolist() == [2, 0]
    with pytest.raises(DataError, match="the model has no class 'n00000001'"):
        map_labels(source, ["n00000005"])


def test_only_the_stranger_among_wordnet_ids_is_blamed(make_source: Any) -> None:
    with pytest.raises(DataError, match=r"has no class 'cats'\."):
        map_labels(make_source(["cats", "n01443537"], [0, 1]), ["goldfish", "tench"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number,wnid\n0,n00000000\n", "no column 'index'"),
        ("index,id\n0,n00000000\n", "no column 'wnid'"),
        ("index,wnid\n0,\n", "line 2: no wnid"),
        ("index,wnid\n-1,n00000000\n", "line 2: the index '-1' is not a whole number"),
        ("index,wnid\none,n00000000\n", "the index 'one' is not a whole number"),
        ("index,wnid\n0,n00000000\n2,n00000001\n", "line 3: the index 2 is outside .* 0 to 1"),
        ("index,wnid\n99999999999999999999,n0\n", "is outside the model's classes"),
        ("index,wnid\n0,n00000000\n0,n00000001\n", "line 3: 0 is in line 2 too"),
        ("index,wnid\n0,n00000000\n1,n00000000\n", "line 3: 'n00000000' is in line 2 too"),
        (b"\xff\xfe", "cannot be read as CSV"),
    ],
)
def test_faults_of_a_table_are_named(
    text: str | bytes, message: str, tmp_path: Path, make_source: Any
) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as failure:
        map_labels(make_source(["n00000000"], [0]), ["a", "b"], table)
    assert "table.csv" in failure.value.problem


def test_a_table_that_is_not_there(tmp_path: Path, make_source: Any) -> None:
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        map_labels(make_source(["n00000000"], [0]), ["a"], tmp_path / "none.csv")


@needs_timm
@pytest.mark.realdata
@pytest.mark.parametrize("name", ["eval", "eval_flickr", "calib"])
def test_real_folders_through_the_table_and_through_timm(
    real_data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(str(real_data / "imagenet" / name))
    labels = map_labels(source, IMAGENET)
    assert len(set(labels.tolist())) == len(source.classes)
    monkeypatch.setattr(labels_module, "_beside_or_above", lambda root: None)
    np.testing.assert_array_equal(map_labels(source, IMAGENET), labels)

"""Parts of sources, and what identifies a source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.data import fingerprint, image_hashes, open_source, select, subset
from edgecnn.data.arrays import ArrayImages
from edgecnn.errors import UsageError


def numbered(count: int) -> ArrayImages:
    """Sorted by class, ten images of each."""
    pixels = np.arange(count, dtype=np.uint32).view(np.uint8).reshape(count, 2, 2)
    labels = np.arange(count, dtype=np.int64) // 10
    classes = tuple(str(label) for label in range(count // 10 + 1))
    return ArrayImages("numbered", None, classes, labels, pixels)


@given(count=st.integers(1, 300), limit=st.integers(1, 300), seed=st.none() | st.integers(0, 9))
def test_a_subset_is_a_source_of_distinct_images(count: int, limit: int, seed: int | None) -> None:
    source = numbered(count)
    part = subset(source, limit, seed)
    assert len(part) == min(count, limit)
    keys = [part.key(index) for index in range(len(part))]
    assert len(set(keys)) == len(part)
    assert keys == sorted(keys, key=lambda key: int(key[9:-1]))
    for index in (0, len(part) - 1):
        whole = int(keys[index][9:-1])
        assert part.labels[index] == source.labels[whole]
        assert part.content(index) == source.content(whole)
        assert part.image(index).tobytes() == source.image(whole).tobytes()
    assert part.classes == source.classes
    assert part.root == source.root


@given(classes=st.integers(1, 30), per_class=st.integers(1, 3))
def test_without_a_seed_every_class_of_a_sorted_source_is_there(classes: int, per_class: int) -> None:
    part = subset(numbered(classes * 10), classes * per_class)
    assert np.bincount(part.labels).tolist() == [per_class] * classes


def test_the_same_seed_gives_the_same_images() -> None:
    source = numbered(200)
    first, again, other = (fingerprint(subset(source, 20, seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_no_limit_and_a_generous_one_give_the_source_itself() -> None:
    source = numbered(5)
    assert subset(source, None) is source
    assert subset(source, 5) is source
    assert subset(source, 4).name == "numbered (4 of 5)"


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_that_leaves_nothing_is_refused(limit: int) -> None:
    with pytest.raises(UsageError, match=f"A limit of {limit}"):
        subset(numbered(5), limit)


def test_a_selection_keeps_the_asked_order() -> None:
    part = select(numbered(30), [20, 3], "two")
    assert part.name == "two"
    assert part.labels.tolist() == [2, 0]
    assert part.key(0) == "numbered[20]"


def test_a_fingerprint_changes_with_content_labels_classes_and_order(make_source: Any) -> None:
    source = make_source(["a", "b"], [0, 1, 1])
    changed = make_source(["a", "b"], [0, 1, 1])
    changed.pixels[2, 1, 1, 2] ^= 1
    variants = [
        source,
        changed,
        make_source(["a", "b"], [0, 1, 0]),
        make_source(["a", "c"], [0, 1, 1]),
        select(source, [0, 2, 1], "other order"),
        select(source, [0, 1], "fewer"),
    ]
    assert len({fingerprint(variant) for variant in variants}) == len(variants)
    assert fingerprint(make_source(["a", "b"], [0, 1, 1], name="renamed")) == fingerprint(source)


def test_a_fingerprint_of_files_is_of_their_bytes(tmp_path: Any, write_image: Any) -> None:
    path = write_image("cat/1.png")
    before = fingerprint(open_source(str(tmp_path)))
    path.rename(path.with_name("renamed.png"))
    assert fingerprint(open_source(str(tmp_path))) == before
    path.with_name("renamed.png").write_bytes(b"other bytes")
    assert fingerprint(open_source(str(tmp_path))) != before


def test_shared_images_are_found() -> None:
    source = numbered(30)
    left, right = select(source, range(12), "left"), select(source, range(10, 30), "right")
    assert len(image_hashes(left) & image_hashes(right)) == 2
    assert not image_hashes(select(source, [0, 1], "a")) & image_hashes(select(source, [2], "b"))

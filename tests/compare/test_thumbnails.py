"""Small pictures for the page."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from edgecnn.compare.thumbnails import thumbnails_of
from edgecnn.data import open_source, subset
from edgecnn.data.arrays import ArrayImages


def _pictures(count: int, height: int, width: int) -> ArrayImages:
    pixels = np.random.default_rng(1).integers(0, 256, (count, height, width, 3), np.uint8)
    return ArrayImages("noise", None, (), np.zeros(count, np.int64), pixels)


def test_the_longest_side_is_that_of_a_thumbnail_and_the_shape_stays() -> None:
    found = thumbnails_of(_pictures(3, 800, 400), {"noise[1]"})
    assert list(found) == ["noise[1]"]
    image = Image.open(BytesIO(found["noise[1]"]))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (80, 160))


def test_small_images_are_not_enlarged() -> None:
    (picture,) = thumbnails_of(_pictures(1, 8, 8), ["noise[0]"]).values()
    assert Image.open(BytesIO(picture)).size == (8, 8)


def test_keys_of_a_part_are_those_of_the_whole() -> None:
    part = subset(_pictures(10, 8, 8), 5)
    assert list(thumbnails_of(part, ["noise[2]", "noise[3]", "another"])) == ["noise[2]"]


def test_grey_transparent_and_broken_images(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "a"
    folder.mkdir(parents=True)
    Image.new("L", (9, 9)).save(folder / "grey.png")
    Image.new("RGBA", (9, 9)).save(folder / "glass.png")
    (folder / "broken.png").write_bytes(b"no image")
    source = open_source(str(tmp_path / "images"))
    keys = [source.key(index) for index in range(len(source))]
    assert {Path(key).name for key in thumbnails_of(source, keys)} == {"grey.png", "glass.png"}

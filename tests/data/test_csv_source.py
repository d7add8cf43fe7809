"""Images listed in a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecnn.data import open_source
from edgecnn.errors import DataError


@pytest.fixture
def table(tmp_path: Path, write_image: Any) -> Any:
    """Writes list.csv beside images/1.png to images/3.png."""
    for number in (1, 2, 3):
        write_image(f"images/{number}.png")

    def write(text: str | bytes) -> str:
        path = tmp_path / "list.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_rows_in_order_with_extra_columns(table: Any, tmp_path: Path) -> None:
    source = open_source(table("label,extra,path\ndog,5,images/2.png\ncat,,images/1.png\n"))
    assert source.classes == ("cat", "dog")
    assert source.labels.tolist() == [1, 0]
    assert source.key(0) == "images/2.png"
    assert source.image(0).size == (4, 3)
    assert source.name == "list"
    assert source.root == tmp_path


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath,label\nimages/1.png,cat\n",
        b"path,label\r\nimages/1.png,cat\r\n",
        b"path,label\n\n images/1.png , cat \n\n",
        b'path,label\n"images/1.png","cat"',
    ],
    ids=["byte-order mark", "CRLF", "blanks", "quotes"],
)
def test_files_as_spreadsheets_write_them(text: bytes, table: Any) -> None:
    source = open_source(table(text))
    assert source.classes == ("cat",)
    assert len(source) == 1


def test_absolute_paths(table: Any, tmp_path: Path) -> None:
    assert len(open_source(table(f"path,label\n{tmp_path}/images/1.png,cat\n"))) == 1


def test_whole_numbers_are_indices_of_the_models_classes(table: Any) -> None:
    source = open_source(table("path,label\nimages/1.png,7\nimages/2.png,0\n"))
    assert source.classes == ()
    assert source.labels.tolist() == [7, 0]


def test_numbers_among_names_are_names(table: Any) -> None:
    assert open_source(table("path,label\nimages/1.png,7\nimages/2.png,cat\n")).classes == ("7", "cat")


SPLIT = "path,label,split\nimages/1.png,cat,train\nimages/2.png,cat,Val\nimages/3.png,cat,test\n"


def test_splits(table: Any) -> None:
    path = table(SPLIT)
    assert [Path(open_source(path, split="train").key(0)).name] == ["1.png"]
    assert [Path(open_source(path, split="test").key(0)).name] == ["3.png"]
    path = table(SPLIT.replace(",test", ",train"))
    assert [Path(open_source(path, split="test").key(0)).name] == ["2.png"]


def test_a_split_that_no_row_has(table: Any) -> None:
    with pytest.raises(DataError, match="no row is of the test split; the column split holds 'training'"):
        open_source(table("path,label,split\nimages/1.png,cat,training\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'path'; its first line holds nothing"),
        ("images/1.png,cat\n", "no column 'path'; its first line holds images/1.png, cat"),
        ("path,class\nimages/1.png,cat\n", "no column 'label'"),
        ("path;label\nimages/1.png;cat\n", "no column 'path'; its first line holds path;label"),
        ("path,label\n", "lists no images"),
        ("path,label\nimages/1.png,cat\nimages/2.png\n", "line 3: no label"),
        ("path,label\n,cat\n", "line 2: no path"),
        ("path,label\nimages/1.png,cat\nimages/9.png,dog\n", r"line 3: there is no image .*9\.png"),
        ("path,label\nimages/8.png,cat\nimages/9.png,dog\n", r"line 2: .*8\.png \(2 rows name missing"),
        (b"path,label\n\xff\xfe,cat\n", "cannot be read as CSV"),
        ("path,label\n" + "x" * 200_000 + ",cat\n", "cannot be read as CSV: field larger"),
        ("path,label\nimages/\x001.png,cat\n", "there is no image|cannot be read"),
    ],
)
def test_faults_are_named(text: str | bytes, message: str, table: Any) -> None:
    with pytest.raises(DataError, match=message):
        open_source(table(text))


def test_text_beyond_the_last_column_is_not_read(table: Any) -> None:
    assert len(open_source(table("path,label\nimages/1.png,cat,what,ever\n"))) == 1

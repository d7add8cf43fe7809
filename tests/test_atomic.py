"""Files that are replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecnn.atomic import replacing, require_writable, writing
from edgecnn.errors import ArtifactError


def test_the_file_appears_complete_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("content")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "content"
    assert list(path.parent.iterdir()) == [path]


def _fail_half_way(path: Path, failure: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise failure


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(type(failure)):
        _fail_half_way(path, failure)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_named_with_the_reason_and_the_remedy(tmp_path: Path) -> None:
    with (
        pytest.raises(ArtifactError) as caught,
        writing(tmp_path, ArtifactError, "Choose another place with -o."),
    ):
        require_writable(tmp_path)
    assert caught.value.problem == f"{tmp_path} cannot be written: it is a folder."
    assert caught.value.remedy == "Choose another place with -o."

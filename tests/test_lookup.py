"""References of the form "module:attribute"."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgecnn.errors import UsageError
from edgecnn.lookup import resolve


def test_resolves_an_attribute() -> None:
    assert resolve("pathlib:Path") is Path


@pytest.mark.parametrize("reference", ["", "pathlib", "pathlib:", ":Path"])
def test_malformed_reference(reference: str) -> None:
    with pytest.raises(UsageError, match="module:attribute"):
        resolve(reference)


@pytest.mark.parametrize("reference", ["no_such_package:x", "edgecnn.no_such_module:x"])
def test_missing_module_is_named(reference: str) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        resolve(reference)


def test_missing_attribute_is_named() -> None:
    with pytest.raises(UsageError, match="no attribute 'nothing'"):
        resolve("pathlib:nothing")


def test_a_broken_import_inside_the_module_is_not_disguised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text("import a_package_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_missing"):
        resolve("needs_more:x")
    assert "needs_more" not in sys.modules

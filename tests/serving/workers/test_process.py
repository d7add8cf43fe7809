"""A worker's process, as its supervisor starts it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import NoReturn

import pytest

from edgecnn.serving.workers.process import _spawn


def test_one_that_cannot_be_started_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch, files: Callable[[], int]
) -> None:
    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise BlockingIOError("no room for another process")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    before = files()
    with pytest.raises(BlockingIOError) as caught:
        _spawn({})
    assert files() == before  # while the traceback still holds what was not closed
    assert caught.value.args == ("no room for another process",)

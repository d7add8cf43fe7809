"""One writer at a time, and none that a dead one keeps out."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgecnn.plans.file_lock import locked

HOLD = """
import sys
from pathlib import Path
from edgecnn.plans.file_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_waits_for_another(tmp_path: Path) -> None:
    path, order = tmp_path / "deep" / "file", []

    def second() -> None:
        with locked(path):
            order.append("second")

    with locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_process_that_dies_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"held"
        process.kill()
    with locked(path):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), locked(tmp_path / "file" / "x"):
        pass

"""What ends a build from outside: the process that builds goes, too, and no file stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from edgecnn.artifact import Artifact
from tests.plans.test_build import left_in

Install = Callable[..., ModuleType]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]

#: The command with a GPU that is not there.
_COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
from edgecnn.cli import main
from edgecnn.cuda_driver import Gpu
from edgecnn.plans import here
here.cuda_gpus = lambda: (Gpu("NVIDIA Test 1", "9.0"),)
main(["build", sys.argv[1], "-o", sys.argv[2], "-v", "--engine", "trt"])
"""


def _until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 30 s")


def _building(folder: Path) -> list[int]:
    """The processes that build below ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"edgecnn.plans.child" in words and any(str(folder).encode() in word for word in words):
            found.append(int(process.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").is_file(), reason="needs /proc")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 1), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_no_process_and_no_file_outlive_it(
    number: signal.Signals, code: int, tiny: Artifact, fake_tensorrt: Install, tmp_path: Path
) -> None:
    fake_tensorrt("sleep")
    command = [sys.executable, "-c", _COMMAND, str(tiny.path), str(tmp_path / "tiny.plan")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("Timing" in line for line in process.stderr)
        assert len(_building(tmp_path)) == 1
        process.send_signal(number)
        try:
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code
    _until(lambda: not _building(tmp_path))
    _until(lambda: left_in(tmp_path) == [])

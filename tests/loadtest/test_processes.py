"""What /proc says of processes whose doings are known."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edgecnn.loadtest.processes import cpu_seconds, process_tree, resident_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

#: A process (with a name that looks like the end of one) that has a child; each burns CPU, then waits.
_SCRIPT = """
import subprocess, sys, time
open("/proc/self/comm", "w").write("a) S 1 (b")
burn = "import sys, time\\nwhile time.process_time() < 0.2: pass\\n"
burn += "print('done', flush=True)\\nsys.stdin.read()"
held = bytearray(50_000_000)
child = subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
while time.process_time() < 0.2: pass
print(child.pid, flush=True)
sys.stdin.read()
child.communicate()
"""


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """Process ids of a parent and its child."""
    with subprocess.Popen(
        [sys.executable, "-c", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.communicate()


def test_the_tree_is_the_process_and_its_descendants(family: tuple[int, int]) -> None:
    assert process_tree(family[0]) == family
    assert process_tree(family[1]) == (family[1],)
    assert set(family) < set(process_tree(os.getpid()))


def test_cpu_and_memory_are_of_the_whole_tree(family: tuple[int, int]) -> None:
    parent, child = family
    assert cpu_seconds(parent) >= 0.38
    assert 0.18 <= cpu_seconds(child) < cpu_seconds(parent)
    assert resident_bytes(parent) > resident_bytes(child) + 45e6


def test_a_process_that_is_gone_uses_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert cpu_seconds(process.pid) == resident_bytes(process.pid) == 0

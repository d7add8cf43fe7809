"""The peak of the process itself."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from edgecnn.engines import footprint
from edgecnn.engines.footprint import peak_rss_bytes

MEBIBYTE = 2**20


def test_the_peak_rises_with_what_is_used_and_stays() -> None:
    script = """
import numpy as np
from edgecnn.engines.footprint import peak_rss_bytes

readings = [peak_rss_bytes()]
block = np.ones(64 * 2**20, np.uint8)
readings.append(peak_rss_bytes())
del block
readings.append(peak_rss_bytes())
print(*readings)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, grown, after = map(int, done.stdout.split())
    assert grown - before == pytest.approx(64 * MEBIBYTE, rel=0.05)
    assert after == pytest.approx(grown, rel=0.01)  # the kernel counts in batches


@pytest.mark.skipif(platform.system() == "Windows", reason="there is no getrusage")
def test_without_proc_the_kernel_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    known = peak_rss_bytes()
    monkeypatch.setattr(footprint, "_STATUS", Path("/nowhere"))
    assert known is not None
    assert peak_rss_bytes() == pytest.approx(known, rel=0.05)

"""Lines of tegrastats, as boards print them, to joules."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.timing.tegrastats import RailEnergy, find_tegrastats, power_watts

_HEAD = "RAM 1923/3964MB (lfb 2x2MB) SWAP 191/1982MB (cached 6MB) CPU [5%@1224,off] GR3D_FREQ 0% CPU@40C"
ORIN_NX = f"{_HEAD} VDD_IN 4984mW/4950mW VDD_CPU_GPU_CV 1041mW/1041mW VDD_SOC 1521mW/1521mW"
AGX_ORIN = (
    f"{_HEAD} VDD_GPU_SOC 2406mW/2406mW VDD_CPU_CV 800mW/790mW VIN_SYS_5V0 3628mW/3628mW NC 0mW/0mW "
    "VDDQ_VDD2_1V8AO 500mW/500mW NC 0mW/0mW"
)
NANO = f"{_HEAD} POM_5V_IN 1750/1628 POM_5V_GPU 0/0 POM_5V_CPU 366/406"


@pytest.mark.parametrize(
    ("line", "watts", "rails"),
    [
        (ORIN_NX, 4.984, ("VDD_IN",)),
        (AGX_ORIN, 6.834, ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")),
        (NANO, 1.75, ("POM_5V_IN",)),
    ],
    ids=["Orin NX", "AGX Orin", "Nano"],
)
def test_the_power_of_the_module(line: str, watts: float, rails: tuple[str, ...]) -> None:
    found = power_watts(line)
    assert found is not None
    assert found[0] == pytest.approx(watts)
    assert found[1] == rails


@given(st.text())
def test_no_line_breaks_the_reader(line: str) -> None:
    found = power_watts(line)
    assert found is None or found[0] >= 0


def test_a_line_without_power_has_none() -> None:
    assert power_watts(_HEAD) is None


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100)), min_size=1))
def test_each_sample_holds_until_the_next(steps: list[tuple[float, float]]) -> None:
    now = [0.0]
    counted = RailEnergy(clock=lambda: now[0])
    expected = 0.0
    for seconds, watts in steps:
        counted.add(watts)
        now[0] += seconds
        expected += seconds * watts
    assert counted.joules() == pytest.approx(expected, abs=1e-9)


def test_nothing_is_counted_before_the_first_sample() -> None:
    assert RailEnergy(clock=lambda: 5.0).joules() == 0


def _command(folder: Path, script: str) -> str:
    path = folder / "tegrastats"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_running_tegrastats_is_followed_until_closed(tmp_path: Path) -> None:
    found = find_tegrastats(_command(tmp_path, f'echo starting; echo "{ORIN_NX}"; exec sleep 100'))
    assert found is not None
    since = found.start()
    time.sleep(0.002)  # any time that the clock sees
    assert since() > 0
    assert found.note == "tegrastats every 50 ms (VDD_IN)"
    found.close()
    with pytest.raises(OSError, match="ended"):
        since()


def test_a_board_without_rails_has_no_counter(tmp_path: Path) -> None:
    assert find_tegrastats(_command(tmp_path, f'while echo "{_HEAD}"; do :; done')) is None


def test_a_machine_without_tegrastats_has_no_counter(tmp_path: Path) -> None:
    assert find_tegrastats(str(tmp_path / "none")) is None

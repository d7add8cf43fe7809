"""Joules from counters, and words where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.errors import EdgecnnError
from edgecnn.timing import energy
from edgecnn.timing.energy import EnergyMeter, energy_meter
from edgecnn.timing.rapl import Zone

Write = Callable[[str, int], None]


@pytest.fixture(autouse=True)
def no_jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "find_tegrastats", lambda: None)


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    return tmp_path / "powercap"


@pytest.fixture
def zone(powercap: Path) -> Callable[..., Path]:
    """Makes a counter of RAPL; returns the file that counts."""

    def make(folder: str, name: str, energy_uj: int = 0, range_uj: int = 1_000_000_000) -> Path:
        at = powercap / folder
        at.mkdir(parents=True)
        (at / "name").write_text(f"{name}\n")
        (at / "max_energy_range_uj").write_text(f"{range_uj}\n")
        (at / "energy_uj").write_text(f"{energy_uj}\n")
        return at / "energy_uj"

    return make


def test_packages_and_memory_add_up_and_what_they_hold_does_not_count_twice(
    powercap: Path, zone: Callable[..., Path]
) -> None:
    counters = {
        "package-0": zone("intel-rapl:0", "package-0", 5_000_000),
        "core": zone("intel-rapl:0:0", "core"),
        "dram": zone("intel-rapl:0:1", "dram"),
        "package-1": zone("intel-rapl:1", "package-1"),
        "psys": zone("intel-rapl:2", "psys"),
        "mirror": zone("intel-rapl-mmio:0", "package-0"),
    }
    with energy_meter(powercap=powercap) as meter:
        assert meter.note == "RAPL (package-0, dram, package-1); idle power included"
        with meter.measure() as reading:
            for file in counters.values():
                file.write_text(str(int(file.read_text()) + 1_500_000))
    assert reading.joules == pytest.approx(4.5)
    assert reading.note == meter.note


@given(range_uj=st.integers(1, 1 << 40), start=st.integers(0), used=st.integers(0))
def test_a_counter_that_starts_again_at_zero_loses_nothing(range_uj: int, start: int, used: int) -> None:
    before, used = start % range_uj, used % range_uj
    zone = Zone("package-0", Path(), range_uj)
    assert zone.joules(before, (before + used) % range_uj) == pytest.approx(used / 1e6)


def test_without_counters_the_joules_are_unknown_and_the_note_says_why(powercap: Path) -> None:
    with energy_meter(powercap=powercap) as meter, meter.measure() as reading:
        pass
    assert reading.joules is None
    assert reading.note == f"RAPL: there is no {powercap} (a virtual machine, a container, or not Linux)"


def test_a_folder_without_a_processor_is_told(powercap: Path, zone: Callable[..., Path]) -> None:
    zone("intel-rapl:0", "psys")
    assert "holds no counter of a processor" in energy_meter(powercap=powercap).note


def test_a_counter_for_root_only_names_the_command_that_opens_it(
    powercap: Path, zone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = zone("intel-rapl:0", "package-0")
    read = Path.read_text

    def refused(path: Path, *arguments: Any, **options: Any) -> str:
        if path == counter:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refused)
    meter = energy_meter(powercap=powercap)
    assert f"{counter} may be read by root only" in meter.note
    assert "sudo chmod a+r" in meter.note


@pytest.mark.parametrize("wrong", ["", "many", "0"])
def test_a_counter_of_nonsense_is_told(powercap: Path, zone: Callable[..., Path], wrong: str) -> None:
    (zone("intel-rapl:0", "package-0").parent / "max_energy_range_uj").write_text(wrong)
    with energy_meter(powercap=powercap) as meter, meter.measure() as reading:
        pass
    assert reading.joules is None
    assert "cannot be read" in reading.note


def test_a_counter_that_does_not_move_is_not_zero_joules(powercap: Path, zone: Callable[..., Path]) -> None:
    zone("intel-rapl:0", "package-0", 7)
    with energy_meter(powercap=powercap) as meter, meter.measure() as reading:
        pass
    assert reading.joules is None
    assert "did not move" in reading.note


def test_a_counter_that_goes_away_ends_the_figure_and_not_the_run(
    powercap: Path, zone: Callable[..., Path]
) -> None:
    counter = zone("intel-rapl:0", "package-0", 7)
    meter = energy_meter(powercap=powercap)
    with meter.measure() as reading:
        counter.unlink()
    assert reading.joules is None
    assert "cannot be read any more" in reading.note
    with meter.measure() as later:
        pass
    assert later.joules is None


def test_an_error_inside_the_block_goes_through(powercap: Path, zone: Callable[..., Path]) -> None:
    zone("intel-rapl:0", "package-0", 7)
    with pytest.raises(KeyError), energy_meter(powercap=powercap).measure():
        raise KeyError


class _Gpu:
    """Stands for the open NVML."""

    names = ("NVIDIA H200",)

    def __init__(self, *joules: float | None) -> None:
        self._joules = list(joules)

    def energy_joules(self) -> float | None:
        return self._joules.pop(0)


def test_a_gpu_counts_beside_the_processor(
    powercap: Path, zone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = zone("intel-rapl:0", "package-0")
    monkeypatch.setattr(energy, "open_nvml", lambda: _Gpu(100.0, 130.0))
    meter = energy_meter("NVIDIA H200", powercap=powercap)
    with meter.measure() as reading:
        counter.write_text("2000000")
    assert reading.joules == pytest.approx(32.0)
    assert meter.note == "RAPL (package-0) and NVML (NVIDIA H200); idle power included"


def test_a_gpu_alone_says_what_is_missing(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "open_nvml", lambda: _Gpu(100.0, 130.0))
    with energy_meter("NVIDIA H200", powercap=powercap).measure() as reading:
        pass
    assert reading.joules == pytest.approx(30.0)
    assert "NVML (NVIDIA H200); idle power included; RAPL: there is no" in reading.note


def test_a_gpu_that_does_not_tell_its_energy_leaves_no_part_of_the_sum(
    powercap: Path, zone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    zone("intel-rapl:0", "package-0")
    monkeypatch.setattr(energy, "open_nvml", lambda: _Gpu(None))
    with energy_meter("NVIDIA H200", powercap=powercap).measure() as reading:
        pass
    assert reading.joules is None
    assert "does not tell the energy" in reading.note


def test_work_on_a_gpu_without_its_driver_is_not_measured_by_the_processor(
    powercap: Path, zone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    zone("intel-rapl:0", "package-0")

    def fail() -> None:
        raise EdgecnnError("no driver", "install it")

    monkeypatch.setattr(energy, "open_nvml", fail)
    meter = energy_meter("NVIDIA H200", powercap=powercap)
    assert meter.note == "NVML: no driver"
    with meter.measure() as reading:
        pass
    assert reading.joules is None


def test_a_jetson_measures_the_whole_module(monkeypatch: pytest.MonkeyPatch, powercap: Path) -> None:
    closed: list[bool] = []
    rails = SimpleNamespace(
        note="tegrastats (VDD_IN)", start=lambda: lambda: 3.0, close=lambda: closed.append(True)
    )
    monkeypatch.setattr(energy, "find_tegrastats", lambda: rails)
    with energy_meter("Orin", powercap=powercap) as meter, meter.measure() as reading:
        pass
    assert reading.joules == 3.0
    assert closed == [True]


def test_a_meter_without_counters_closes() -> None:
    EnergyMeter((), "nothing here").close()

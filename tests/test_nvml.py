"""The figures of the NVIDIA driver, from a driver that stands in for it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from edgecnn.errors import DependencyMissingError, EngineUnavailableError
from edgecnn.nvml import GpuCondition, open_nvml


class _Error(Exception):
    pass


def _driver(**answers: Any) -> SimpleNamespace:
    """pynvml of two GPUs, "gpu 0" and "gpu 1"."""

    def refuse(*arguments: object) -> None:
        raise _Error("Not Supported")

    functions = {f"nvmlDeviceGet{name}": answer for name, answer in answers.items()}
    return SimpleNamespace(
        NVMLError=_Error,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: f"gpu {index}",
        nvmlDeviceGetName=lambda gpu: f"NVIDIA {gpu}",
        **{"nvmlDeviceGetTotalEnergyConsumption": refuse, **functions},
    )


def _process(pid: int, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


def test_the_figures_of_all_gpus_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = _driver(
        TotalEnergyConsumption=lambda gpu: 1500,
        MemoryInfo=lambda gpu: SimpleNamespace(used=10 if gpu == "gpu 0" else 5),
        ComputeRunningProcesses=lambda gpu: [_process(7, 3), _process(8, 100)],
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    nvml = open_nvml()
    assert nvml.names == ("NVIDIA gpu 0", "NVIDIA gpu 1")
    assert nvml.energy_joules() == 3.0
    assert nvml.used_memory_bytes() == 15
    assert nvml.process_memory_bytes(7) == 6


@pytest.mark.parametrize("listed", [[], [_process(8, 100)], [_process(7, None)]], ids=str)
def test_a_process_that_the_driver_does_not_know_has_no_figure(
    listed: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _driver(ComputeRunningProcesses=lambda gpu: listed))
    assert open_nvml().process_memory_bytes(7) is None


def test_a_gpu_that_cannot_tell_is_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _driver())
    assert open_nvml().energy_joules() is None


def test_a_missing_binding_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(DependencyMissingError, match="nvidia-ml-py"):
        open_nvml()


def test_a_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise _Error("Driver Not Loaded")

    driver = _driver()
    driver.nvmlInit = fail
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    with pytest.raises(EngineUnavailableError, match="Driver Not Loaded"):
        open_nvml()


def test_the_condition_of_the_gpu_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = _driver(
        ClockInfo=lambda gpu, kind: {1: 1980, 2: 3201}[kind],
        MaxClockInfo=lambda gpu, kind: 1980,
        Temperature=lambda gpu, kind: 45 if gpu == "gpu 1" else 30,
        PowerUsage=lambda gpu: 310_500,
        MemoryInfo=lambda gpu: SimpleNamespace(used=10, total=100),
        CurrentClocksThrottleReasons=lambda gpu: 0x1 | 0x4 | 0x20,
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    found = open_nvml().condition("NVIDIA gpu 1")
    assert str(found) == (
        "NVIDIA gpu 1: 1980 of 1980 MHz, 45 °C, 310 W, 0.0 of 0 GB used, "
        "held down by power limit, temperature"
    )
    assert found == GpuCondition(
        name="NVIDIA gpu 1",
        sm_mhz=1980,
        sm_max_mhz=1980,
        memory_mhz=3201,
        temperature_c=45,
        power_w=310.5,
        used_bytes=10,
        total_bytes=100,
        limited_by=("power limit", "temperature"),
    )
    assert open_nvml().condition("another") is None


def test_a_gpu_that_tells_nothing_has_a_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _driver())  # without these functions, as an old nvidia-ml-py
    assert open_nvml().condition("NVIDIA gpu 0") == GpuCondition(name="NVIDIA gpu 0")
    assert str(open_nvml().condition("NVIDIA gpu 0")) == "NVIDIA gpu 0: it tells nothing"

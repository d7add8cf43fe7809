"""What NVIDIA's driver says of its GPUs, by a library with answers as the tests want them."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from edgecnn import cuda_driver
from edgecnn.cuda_driver import Gpu
from edgecnn.errors import EngineUnavailableError


class Driver:
    """NVIDIA's library, with answers as the test wants them."""

    def __init__(self, status: int = 0, names: tuple[bytes, ...] = ()) -> None:
        self._status, self._names = status, names

    def cuInit(self, _: int) -> int:
        return self._status

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self._names)
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, buffer: Any, _: int, device: Any) -> int:
        buffer.value = self._names[device.value]
        return 0

    def cuDeviceGetAttribute(self, value: Any, kind: int, device: Any) -> int:
        value._obj.value = {75: 9 - device.value, 76: 5 * device.value}[kind]
        return 0

    def cuGetErrorName(self, status: int, name: Any) -> int:
        name._obj.value = {100: b"CUDA_ERROR_NO_DEVICE"}.get(status)
        return 0


def test_the_gpus_are_those_that_the_driver_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "_library", lambda: Driver(names=(b"NVIDIA H200", b"Tesla T4")))
    assert cuda_driver.cuda_gpus() == (Gpu("NVIDIA H200", "9.0"), Gpu("Tesla T4", "8.5"))


@pytest.mark.parametrize(
    ("driver", "problem"),
    [
        (Driver(100), "CUDA_ERROR_NO_DEVICE"),
        (Driver(35), "error 35"),
        (Driver(), "shows this process no"),
    ],
)
def test_a_driver_without_a_gpu_says_why(
    monkeypatch: pytest.MonkeyPatch, driver: Driver, problem: str
) -> None:
    monkeypatch.setattr(cuda_driver, "_library", lambda: driver)
    with pytest.raises(EngineUnavailableError, match=problem):
        cuda_driver.cuda_gpus()


def test_a_machine_without_a_driver_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(EngineUnavailableError, match="no NVIDIA GPU that works here") as caught:
        cuda_driver.cuda_gpus()
    assert "apt install nvidia-driver" in caught.value.remedy

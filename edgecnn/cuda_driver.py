"""What NVIDIA's driver says of its GPUs, asked through the driver's own library: no package is needed."""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass

from edgecnn.errors import EngineUnavailableError

__all__ = ["Gpu", "cuda_gpus"]

_NAME_BYTES = 256

#: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR, of cuda.h.
_CAPABILITY = (75, 76)

_INSTALL = (
    "Install NVIDIA's driver (Debian: apt install nvidia-driver; Ubuntu: ubuntu-drivers install); "
    "a container needs its GPU passed in (docker run --gpus all)."
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that this process may use.

    Attributes:
        name: "NVIDIA H200".
        compute_capability: "9.0".
    """

    name: str
    compute_capability: str


def cuda_gpus() -> tuple[Gpu, ...]:
    """The GPUs that this process may use, in CUDA's order (``CUDA_VISIBLE_DEVICES`` counts); never empty.

    Raises:
        EngineUnavailableError: there is no driver, it does not work, or it has no GPU.
    """
    driver = _library()
    _require(driver, driver.cuInit(0))
    count = ctypes.c_int()
    _require(driver, driver.cuDeviceGetCount(ctypes.byref(count)))
    if count.value == 0:
        raise EngineUnavailableError(
            "NVIDIA's driver is here and shows this process no GPU.", "Check CUDA_VISIBLE_DEVICES."
        )
    return tuple(_gpu(driver, index) for index in range(count.value))


def _library() -> ctypes.CDLL:
    file = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    try:
        return ctypes.CDLL(file)
    except OSError as error:
        raise EngineUnavailableError(
            f"There is no NVIDIA GPU that works here: its driver's library {file} is not installed.", _INSTALL
        ) from error


def _require(driver: ctypes.CDLL, status: int) -> None:
    if status == 0:
        return
    name = ctypes.c_char_p()
    driver.cuGetErrorName(status, ctypes.byref(name))
    said = name.value.decode() if name.value else f"error {status}"
    raise EngineUnavailableError(f"NVIDIA's driver finds no GPU that it can use: {said}.", _INSTALL)


def _gpu(driver: ctypes.CDLL, index: int) -> Gpu:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    _require(driver, driver.cuDeviceGet(ctypes.byref(device), index))
    _require(driver, driver.cuDeviceGetName(name, _NAME_BYTES, device))
    capability = ".".join(str(_attribute(driver, kind, device)) for kind in _CAPABILITY)
    return Gpu(name.value.decode(errors="replace"), capability)


def _attribute(driver: ctypes.CDLL, kind: int, device: ctypes.c_int) -> int:
    found = ctypes.c_int()
    _require(driver, driver.cuDeviceGetAttribute(ctypes.byref(found), kind, device))
    return found.value

"""The layers of NVIDIA's software on this machine, as far as versions can be asked without a GPU."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

__all__ = ["GpuSoftware", "find_gpu_software"]

#: Majors that are looked for, newest first, of libraries that the system has rather than Python's packages.
_MAJORS = {"cudart": (13, 12), "cudnn": (9, 8), "nvinfer": (11, 10)}

#: Python's packages that bring them.
_PACKAGES = {
    "runtime": ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu13", "nvidia-cuda-runtime-cu12"),
    "bindings": ("cuda-bindings",),
    "cudnn": ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12"),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt_rtx": ("tensorrt-rtx",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSoftware:
    """Versions, and where they are from; None for what is not found.

    Attributes:
        driver: the newest CUDA that the NVIDIA driver knows.
        runtime: CUDA's runtime library.
        bindings: the package cuda-bindings, which brings a runtime of its own.
        cudnn: cuDNN.
        tensorrt: TensorRT.
        tensorrt_rtx: TensorRT for RTX.
    """

    driver: str | None = None
    runtime: str | None = None
    bindings: str | None = None
    cudnn: str | None = None
    tensorrt: str | None = None
    tensorrt_rtx: str | None = None


def find_gpu_software() -> GpuSoftware:
    """Look for them: by the packages' metadata, and in the system by its loader. Imports no package."""
    return GpuSoftware(
        driver=_driver(),
        runtime=_package("runtime") or _library("cudart", _asked("cudaRuntimeGetVersion"), _cuda),
        bindings=_package("bindings"),
        cudnn=_package("cudnn") or _library("cudnn", _told("cudnnGetVersion"), _dotted),
        tensorrt=_package("tensorrt") or _library("nvinfer", _told("getInferLibVersion"), _dotted),
        tensorrt_rtx=_package("tensorrt_rtx"),
    )


def _package(what: str) -> str | None:
    for name in _PACKAGES[what]:
        try:
            return f"{version(name)} ({name})"
        except PackageNotFoundError:
            continue
    return None


def _driver() -> str | None:
    file = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    number = _number(file, _asked("cuDriverGetVersion"))
    return _cuda(number) if number else None


def _library(name: str, ask: Callable[[ctypes.CDLL], int], text: Callable[[int], str]) -> str | None:
    for major in _MAJORS[name]:
        file = f"lib{name}.so.{major}"
        if number := _number(file, ask):
            return f"{text(number)} ({file})"
    return None


def _number(file: str, ask: Callable[[ctypes.CDLL], int]) -> int | None:
    try:
        return ask(ctypes.CDLL(file))
    except (OSError, AttributeError):  # not there, or without that function
        return None


def _asked(function: str) -> Callable[[ctypes.CDLL], int]:
    """For functions that write the version where they are told to."""

    def ask(library: ctypes.CDLL) -> int:
        number = ctypes.c_int()
        getattr(library, function)(ctypes.byref(number))
        return number.value

    return ask


def _told(function: str) -> Callable[[ctypes.CDLL], int]:
    """For functions that return it."""
    return lambda library: int(getattr(library, function)())


def _cuda(number: int) -> str:
    """13050 is 13.5."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _dotted(number: int) -> str:
    """91002 is cuDNN 9.10.2, and 101301 TensorRT 10.13.1."""
    return f"{number // 10_000}.{number % 10_000 // 100}.{number % 100}"

"""Versions of NVIDIA's software, on machines that are made up."""

from __future__ import annotations

import ctypes
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
from typing import Any

import pytest

from edgecnn.engines import gpu_software
from edgecnn.engines.gpu_software import GpuSoftware, find_gpu_software

JETPACK = {
    "libcuda.so.1": ("cuDriverGetVersion", 12060),
    "libcudart.so.12": ("cudaRuntimeGetVersion", 12060),
    "libcudnn.so.9": ("cudnnGetVersion", 90300),
    "libnvinfer.so.10": ("getInferLibVersion", 100300),
}


def machine(
    monkeypatch: pytest.MonkeyPatch, libraries: dict[str, tuple[str, int]], packages: dict[str, str]
) -> GpuSoftware:
    def load(file: str) -> Any:
        if file not in libraries:
            raise OSError(file)
        name, number = libraries[file]

        def function(out: Any = None) -> int:
            if out is None:
                return number
            out._obj.value = number
            return 0

        return SimpleNamespace(**{name: function})

    def version(package: str) -> str:
        if package not in packages:
            raise PackageNotFoundError(package)
        return packages[package]

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(gpu_software, "version", version)
    return find_gpu_software()


def test_a_machine_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine(monkeypatch, {}, {}) == GpuSoftware()


def test_the_systems_libraries_as_on_a_jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine(monkeypatch, JETPACK, {}) == GpuSoftware(
        driver="12.6",
        runtime="12.6 (libcudart.so.12)",
        cudnn="9.3.0 (libcudnn.so.9)",
        tensorrt="10.3.0 (libnvinfer.so.10)",
    )


def test_packages_go_before_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"tensorrt-cu13": "11.4.0", "tensorrt-rtx": "1.7.1", "nvidia-cudnn-cu13": "9.14"}
    found = machine(monkeypatch, JETPACK, packages)
    assert (found.tensorrt, found.tensorrt_rtx) == ("11.4.0 (tensorrt-cu13)", "1.7.1 (tensorrt-rtx)")
    assert found.cudnn == "9.14 (nvidia-cudnn-cu13)"


def test_a_library_without_the_function_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine(monkeypatch, {"libcudnn.so.9": ("other", 1)}, {}).cudnn is None

"""Every status that CUDA's functions give, from a module that stands in for NVIDIA's, and from its own."""

# ruff: noqa: N815 - CUDA's names

from __future__ import annotations

import sys
from enum import IntEnum
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from edgecnn.engines.cuda.bindings import Bindings, open_cuda
from edgecnn.errors import EngineError, EngineUnavailableError

MIB = 2**20


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorIllegalAddress = 700


class Module:
    """``cuda.bindings.runtime``: every function answers ``values``, those in ``failing`` with that status."""

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="in", cudaMemcpyDeviceToHost="out")
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal="own thread")

    def __init__(self, failing: dict[str, Status] | None = None, **values: tuple[Any, ...]) -> None:
        self.failing, self.values = failing or {}, values
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def function(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, *arguments))
            if name in self.failing:
                return self.failing[name], *(None for _ in self.values.get(name, ()))
            return Status.cudaSuccess, *self.values.get(name, ())

        return function

    def cudaGetErrorName(self, status: Status) -> tuple[Status, bytes]:
        return Status.cudaSuccess, status.name.encode()

    def cudaGetErrorString(self, status: Status) -> tuple[Status, bytes]:
        return Status.cudaSuccess, f"text of {int(status)}".encode()


#: Function of CUDA -> the call that uses it.
CALLS: dict[str, Any] = {
    "cudaGetDeviceCount": lambda cuda: cuda.device_count(),
    "cudaSetDevice": lambda cuda: cuda.select(0),
    "cudaMemGetInfo": lambda cuda: cuda.free_bytes(),
    "cudaMalloc": lambda cuda: cuda.allocate(8),
    "cudaFree": lambda cuda: cuda.free(8),
    "cudaHostAlloc": lambda cuda: cuda.allocate_pinned(8),
    "cudaFreeHost": lambda cuda: cuda.free_pinned(8),
    "cudaMemcpyAsync": lambda cuda: cuda.copy_to_device(1, 2, 8, 3),
    "cudaStreamCreateWithFlags": lambda cuda: cuda.create_stream(),
    "cudaStreamSynchronize": lambda cuda: cuda.synchronise(1),
    "cudaStreamDestroy": lambda cuda: cuda.destroy_stream(1),
    "cudaStreamBeginCapture": lambda cuda: cuda.begin_capture(1),
    "cudaStreamEndCapture": lambda cuda: cuda.end_capture(1),
    "cudaGraphInstantiate": lambda cuda: cuda.instantiate(1),
    "cudaGraphLaunch": lambda cuda: cuda.launch(1, 2),
    "cudaGraphDestroy": lambda cuda: cuda.destroy_graph(1),
    "cudaGraphExecDestroy": lambda cuda: cuda.destroy_executable(1),
}


@pytest.mark.parametrize("function", CALLS)
def test_no_status_is_left_unread(function: str) -> None:
    module = Module({function: Status.cudaErrorIllegalAddress}, cudaMalloc=(0,), cudaHostAlloc=(0,))
    with pytest.raises(EngineError, match=rf"{function}: cudaErrorIllegalAddress \(text of 700\)") as caught:
        CALLS[function](Bindings(module))
    assert "start it anew" in caught.value.remedy
    assert ("cudaGetLastError",) in module.calls, "CUDA would tell it to TensorRT's next call"


def test_values_come_back_as_plain_numbers() -> None:
    module = Module(cudaMalloc=(4096,), cudaMemGetInfo=(3, 8), cudaStreamCreateWithFlags=(7,))
    cuda = Bindings(module)
    assert (cuda.allocate(8), cuda.free_bytes(), cuda.create_stream()) == (4096, 3, 7)
    cuda.copy_to_host(1, 2, 8, 3)
    assert module.calls[-1] == ("cudaMemcpyAsync", 1, 2, 8, "out", 3)


@pytest.mark.parametrize("function", ["cudaMalloc", "cudaHostAlloc"])
def test_out_of_memory_says_how_much_was_asked_and_is_free(function: str) -> None:
    module = Module(
        {function: Status.cudaErrorMemoryAllocation},
        cudaMalloc=(0,),
        cudaHostAlloc=(0,),
        cudaMemGetInfo=(5 * MIB, 80 * MIB),
    )
    cuda = Bindings(module)
    with pytest.raises(EngineError, match=r"3,000\.0 MiB were asked for, and 5\.0 MiB are free") as caught:
        cuda.allocate(3000 * MIB) if function == "cudaMalloc" else cuda.allocate_pinned(3000 * MIB)
    assert "smaller batches" in caught.value.remedy


def test_out_of_memory_when_not_even_that_can_be_asked() -> None:
    failing = {
        "cudaMalloc": Status.cudaErrorMemoryAllocation,
        "cudaMemGetInfo": Status.cudaErrorIllegalAddress,
    }
    with pytest.raises(EngineError, match=r"3\.0 MiB were asked for \(cudaErrorMemoryAllocation\)"):
        Bindings(Module(failing, cudaMalloc=(0,))).allocate(3 * MIB)


@pytest.mark.parametrize(
    ("driver", "problem", "remedy"),
    [
        (0, "no NVIDIA driver", "apt install nvidia-driver"),
        (12040, r"CUDA 12\.4, and CUDA 13\.5", "Update the"),
    ],
)
def test_a_driver_that_is_missing_or_too_old(driver: int, problem: str, remedy: str) -> None:
    module = Module(
        {"cudaGetDeviceCount": Status.cudaErrorInsufficientDriver},
        cudaDriverGetVersion=(driver,),
        cudaRuntimeGetVersion=(13050,),
    )
    with pytest.raises(EngineUnavailableError, match=problem) as caught:
        Bindings(module).device_count()
    assert remedy in caught.value.remedy


def test_a_driver_without_a_gpu() -> None:
    with pytest.raises(EngineUnavailableError, match="cudaErrorNoDevice") as caught:
        Bindings(Module({"cudaGetDeviceCount": Status.cudaErrorNoDevice})).device_count()
    assert "CUDA_VISIBLE_DEVICES" in caught.value.remedy


def test_the_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(EngineUnavailableError, match="cuda-bindings") as caught:
        open_cuda("trt")
    assert caught.value.remedy == "Install it: pip install 'edgecnn[trt]'"


@pytest.mark.tensorrt
@pytest.mark.skipif(find_spec("cuda") is None, reason="cuda-bindings is not installed")
def test_nvidias_own_package_without_a_driver() -> None:
    cuda = open_cuda("trt")
    driver, runtime = cuda.versions()
    if driver:
        pytest.skip("there is a driver here")
    assert runtime >= 12000
    with pytest.raises(EngineUnavailableError, match="no NVIDIA driver"):
        cuda.allocate(1)
    with pytest.raises(EngineUnavailableError, match="no NVIDIA driver"):
        cuda.device_count()

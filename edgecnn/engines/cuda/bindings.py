"""CUDA's runtime through NVIDIA's package cuda-bindings, every status checked."""

# ruff: noqa: D102 - the interface has the docstrings
from __future__ import annotations

from importlib import import_module
from typing import Any

from edgecnn.engines.cuda.failures import (
    NO_DRIVER,
    OUT_OF_MEMORY,
    cuda_failure,
    driver_failure,
    memory_failure,
)
from edgecnn.engines.cuda.runtime import CudaRuntime
from edgecnn.errors import EdgecnnError, EngineUnavailableError

__all__ = ["Bindings", "open_cuda"]

_MODULE = "cuda.bindings.runtime"


def open_cuda(extra: str) -> CudaRuntime:
    """Load CUDA's runtime.

    Args:
        extra: of edgecnn that installs it, for the message.

    Raises:
        EngineUnavailableError: cuda-bindings is not installed, or does not load.
    """
    try:
        return Bindings(import_module(_MODULE))
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            "The package 'cuda-bindings' is not installed.", f"Install it: pip install 'edgecnn[{extra}]'"
        ) from error
    except Exception as error:  # a native library may fail to load with anything
        raise EngineUnavailableError(
            f"The package 'cuda-bindings' does not load: {type(error).__name__}: {error}",
            f"Install it again: pip install --force-reinstall 'edgecnn[{extra}]'",
        ) from error


class Bindings:
    """:class:`edgecnn.engines.cuda.runtime.CudaRuntime` over the module ``cuda.bindings.runtime``."""

    def __init__(self, module: Any) -> None:  # noqa: ANN401 - it has no types
        self._cuda = module

    def versions(self) -> tuple[int, int]:
        return int(self._call("cudaDriverGetVersion")), int(self._call("cudaRuntimeGetVersion"))

    def device_count(self) -> int:
        return int(self._call("cudaGetDeviceCount"))

    def select(self, index: int) -> None:
        self._call("cudaSetDevice", index)

    def free_bytes(self) -> int:
        free, _ = self._call("cudaMemGetInfo")
        return int(free)

    def allocate(self, nbytes: int) -> int:
        return self._memory("cudaMalloc", "memory of the GPU", nbytes)

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def allocate_pinned(self, nbytes: int) -> int:
        return self._memory("cudaHostAlloc", "pinned memory of the host", nbytes, 0)

    def free_pinned(self, address: int) -> None:
        self._call("cudaFreeHost", address)

    def copy_to_device(self, device: int, host: int, nbytes: int, stream: int) -> None:
        self._call(
            "cudaMemcpyAsync", device, host, nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, stream
        )

    def copy_to_host(self, host: int, device: int, nbytes: int, stream: int) -> None:
        self._call(
            "cudaMemcpyAsync", host, device, nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream
        )

    def create_stream(self) -> int:
        return int(self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking))

    def synchronise(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", stream)

    def destroy_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", stream)

    def begin_capture(self, stream: int) -> None:
        # Other threads may allocate meanwhile, for streams of their own: only this one's calls are recorded.
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        return int(self._call("cudaStreamEndCapture", stream))

    def instantiate(self, graph: int) -> int:
        return int(self._call("cudaGraphInstantiate", graph, 0))

    def launch(self, executable: int, stream: int) -> None:
        self._call("cudaGraphLaunch", executable, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call("cudaGraphDestroy", graph)

    def destroy_executable(self, executable: int) -> None:
        self._call("cudaGraphExecDestroy", executable)

    def _call(self, function: str, *arguments: object) -> Any:  # noqa: ANN401 - what the function gives
        """The function's value, or a tuple of several."""
        status, *values = getattr(self._cuda, function)(*arguments)
        if int(status) != 0:
            raise self._failure(function, status)
        return values[0] if len(values) == 1 else tuple(values)

    def _memory(self, function: str, what: str, nbytes: int, *flags: int) -> int:
        status, address = getattr(self._cuda, function)(nbytes, *flags)
        if int(status) == 0:
            return int(address)
        failure = self._failure(function, status)
        raise memory_failure(what, nbytes, self._free()) if self._name(status) == OUT_OF_MEMORY else failure

    def _free(self) -> int | None:
        try:
            return self.free_bytes()
        except EdgecnnError:  # it is asked for an error's text, which goes without
            return None

    def _failure(self, function: str, status: Any) -> EdgecnnError:  # noqa: ANN401 - an enum of the package
        # CUDA remembers an error for whoever asks next, and that may be TensorRT about its own calls.
        self._cuda.cudaGetLastError()
        name = self._name(status)
        if name == NO_DRIVER:
            return driver_failure(*self.versions())
        return cuda_failure(function, name, self._cuda.cudaGetErrorString(status)[1].decode())

    def _name(self, status: Any) -> str:  # noqa: ANN401 - likewise
        return str(self._cuda.cudaGetErrorName(status)[1].decode())

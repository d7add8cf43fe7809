"""A CUDA runtime without a GPU, for tests of what uses one. No result is ever reported from it."""

# ruff: noqa: D102 - the interface has the docstrings
from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.engines.cuda.failures import cuda_failure, memory_failure

__all__ = ["FakeCuda"]

Work = Callable[[], object]


class FakeCuda:
    """Keeps the contract of :class:`edgecnn.engines.cuda.runtime.CudaRuntime`, in memory of the host.

    As on a GPU, queued work runs when its stream is waited for, and work that is captured runs when its graph
    is launched: what reads a result too early reads an old one.

    Attributes:
        calls: names of all calls so far, in order, failed ones included.
        live: kind of resource -> how many are not released: "device", "pinned", "stream", "graph",
            "executable".
        selected: what ``select`` was last given.
    """

    def __init__(self, *, fail_at: int | None = None, memory_bytes: int = 1 << 30, devices: int = 1) -> None:
        """Make one.

        Args:
            fail_at: the call, counted from 0, that fails; none if None.
            memory_bytes: of the GPU.
            devices: how many GPUs there are, all alike.
        """
        self.calls: list[str] = []
        self.selected: int | None = None
        self._fail_at, self._memory_bytes, self._devices = fail_at, memory_bytes, devices
        self._handles = count(1)
        self._resources: dict[int, tuple[str, Any]] = {}
        self._capturing: dict[int, list[Work]] = {}
        self._broken = False

    @property
    def live(self) -> Counter[str]:
        """What is not released, by kind."""
        return Counter(kind for kind, _ in self._resources.values())

    def versions(self) -> tuple[int, int]:
        self._called("cudaDriverGetVersion")
        return 13000, 13000

    def device_count(self) -> int:
        self._called("cudaGetDeviceCount")
        return self._devices

    def select(self, index: int) -> None:
        self._called("cudaSetDevice")
        self._require_device(index)
        self.selected = index

    def free_bytes(self) -> int:
        self._called("cudaMemGetInfo")
        return self._free_bytes()

    def allocate(self, nbytes: int) -> int:
        self._called("cudaMalloc")
        if nbytes > self._free_bytes():
            raise memory_failure("memory of the GPU", nbytes, self._free_bytes())
        return self._new_memory("device", nbytes)

    def free(self, address: int) -> None:
        self._release("device", address, "cudaFree")

    def allocate_pinned(self, nbytes: int) -> int:
        self._called("cudaHostAlloc")
        return self._new_memory("pinned", nbytes)

    def free_pinned(self, address: int) -> None:
        self._release("pinned", address, "cudaFreeHost")

    def copy_to_device(self, device: int, host: int, nbytes: int, stream: int) -> None:
        self._copy(device, host, nbytes, stream)

    def copy_to_host(self, host: int, device: int, nbytes: int, stream: int) -> None:
        self._copy(host, device, nbytes, stream)

    def create_stream(self) -> int:
        self._called("cudaStreamCreateWithFlags")
        return self._new("stream", [])

    def synchronise(self, stream: int) -> None:
        self._called("cudaStreamSynchronize")
        self._require_idle(stream, "cudaStreamSynchronize")
        queued: list[Work] = self._get("stream", stream)
        while queued:
            queued.pop(0)()

    def destroy_stream(self, stream: int) -> None:
        self._release("stream", stream, "cudaStreamDestroy")

    def begin_capture(self, stream: int) -> None:
        self._called("cudaStreamBeginCapture")
        self._require_idle(stream, "cudaStreamBeginCapture")
        self._capturing[stream] = []

    def end_capture(self, stream: int) -> int:
        recorded = self._capturing.pop(stream, None)
        self._called("cudaStreamEndCapture")
        if recorded is None:
            raise cuda_failure("cudaStreamEndCapture", "cudaErrorIllegalState", "no capture is under way")
        return self._new("graph", recorded)

    def instantiate(self, graph: int) -> int:
        self._called("cudaGraphInstantiate")
        return self._new("executable", list(self._get("graph", graph)))

    def launch(self, executable: int, stream: int) -> None:
        self._called("cudaGraphLaunch")
        for work in self._get("executable", executable):
            self.queue(stream, work)

    def destroy_graph(self, graph: int) -> None:
        self._release("graph", graph, "cudaGraphDestroy")

    def destroy_executable(self, executable: int) -> None:
        self._release("executable", executable, "cudaGraphExecDestroy")

    def queue(self, stream: int, work: Work) -> None:
        """What a kernel's launch does: queue ``work``, or record it where the stream is being captured."""
        queued: list[Work] = self._get("stream", stream)
        self._capturing.get(stream, queued).append(work)

    def kernel(self, name: str, stream: int, work: Work) -> None:
        """Launch ``work`` as a kernel called ``name``, which may fail as any call."""
        self._called(name)
        self.queue(stream, work)

    def capturing(self, stream: int) -> bool:
        """Whether what is queued in ``stream`` is being recorded."""
        return stream in self._capturing

    def array(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A view of the GPU's memory, for kernels.

        Raises:
            EngineError: nothing of that size lies there.
        """
        memory = self._get("device", address)
        nbytes = int(np.prod(shape)) * dtype.itemsize
        if nbytes > len(memory):
            raise cuda_failure("a kernel", "cudaErrorIllegalAddress", "an illegal memory access")
        return np.frombuffer(memory, dtype, count=int(np.prod(shape))).reshape(shape)

    @contextmanager
    def failing_at(self, call: int) -> Iterator[None]:
        """Let the call of that number fail, inside the ``with`` block."""
        before, self._fail_at = self._fail_at, call
        try:
            yield
        finally:
            self._fail_at = before

    def fail_from_now_on(self) -> None:
        """Let every call fail, as after an illegal memory access."""
        self._broken = True

    def _called(self, function: str) -> None:
        self.calls.append(function)
        if self._broken or len(self.calls) - 1 == self._fail_at:
            raise cuda_failure(function, "cudaErrorUnknown", "as the test wants")

    def _require_device(self, index: int) -> None:
        if index >= self._devices:
            raise cuda_failure("cudaSetDevice", "cudaErrorInvalidDevice", "invalid device ordinal")

    def _require_idle(self, stream: int, function: str) -> None:
        if stream in self._capturing:
            raise cuda_failure(function, "cudaErrorStreamCaptureUnsupported", "the stream is being captured")

    def _free_bytes(self) -> int:
        used = sum(len(memory) for kind, memory in self._resources.values() if kind == "device")
        return self._memory_bytes - used

    def _new(self, kind: str, content: object) -> int:
        handle = next(self._handles)
        self._resources[handle] = (kind, content)
        return handle

    def _new_memory(self, kind: str, nbytes: int) -> int:
        memory = (ctypes.c_byte * nbytes)()
        address = ctypes.addressof(memory)
        self._resources[address] = (kind, memory)
        return address

    def _get(self, kind: str, handle: int) -> Any:  # noqa: ANN401 - each kind has its own content
        found, content = self._resources.get(handle, ("nothing", None))
        if found != kind:
            raise cuda_failure(f"the use of a {kind}", "cudaErrorInvalidValue", f"{handle} is {found}")
        return content

    def _release(self, kind: str, handle: int, function: str) -> None:
        self._get(kind, handle)
        del self._resources[handle]  # a failing release gives nothing back that could be released again
        self._called(function)

    def _copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._called("cudaMemcpyAsync")
        for address in (target, source):
            kind, memory = self._resources.get(address, ("nothing", b""))
            if kind not in {"device", "pinned"} or nbytes > len(memory):
                raise cuda_failure("cudaMemcpyAsync", "cudaErrorInvalidValue", f"{nbytes} bytes of {kind}")
        self.queue(stream, lambda: ctypes.memmove(target, source, nbytes))

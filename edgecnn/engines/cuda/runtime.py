"""The few functions of CUDA that edgecnn calls, as one interface: NVIDIA's behind it, or the fake one."""

from __future__ import annotations

from typing import Protocol

__all__ = ["CudaRuntime"]


class CudaRuntime(Protocol):
    """Memory, streams and graphs of the GPU that is selected. Addresses and handles are plain ints.

    Every function raises :class:`edgecnn.errors.EngineError` where CUDA does not answer with success, and
    :class:`edgecnn.errors.EngineUnavailableError` where the driver, the GPU or their versions are why.
    """

    def versions(self) -> tuple[int, int]:
        """The newest CUDA that the driver knows, and the runtime's: 13050 is 13.5, and 0 is no driver."""

    def device_count(self) -> int:
        """How many GPUs this process sees; never 0."""

    def select(self, index: int) -> None:
        """Let the calls of this thread go to that GPU: CUDA keeps it for each thread by itself."""

    def free_bytes(self) -> int:
        """Memory of the GPU that nobody uses."""

    def allocate(self, nbytes: int) -> int:
        """Address of new memory on the GPU."""

    def free(self, address: int) -> None:
        """Give it back."""

    def allocate_pinned(self, nbytes: int) -> int:
        """Address of new memory of the host that the GPU copies from and to by itself."""

    def free_pinned(self, address: int) -> None:
        """Give it back."""

    def copy_to_device(self, device: int, host: int, nbytes: int, stream: int) -> None:
        """Queue a copy from pinned memory."""

    def copy_to_host(self, host: int, device: int, nbytes: int, stream: int) -> None:
        """Queue a copy into pinned memory."""

    def create_stream(self) -> int:
        """A queue of work that does not wait for the default one."""

    def synchronise(self, stream: int) -> None:
        """Wait until all that was queued has run."""

    def destroy_stream(self, stream: int) -> None:
        """Give it back."""

    def begin_capture(self, stream: int) -> None:
        """From now on, record what this thread queues instead of running it."""

    def end_capture(self, stream: int) -> int:
        """The graph of what was recorded."""

    def instantiate(self, graph: int) -> int:
        """What can be launched of a graph."""

    def launch(self, executable: int, stream: int) -> None:
        """Queue all of it."""

    def destroy_graph(self, graph: int) -> None:
        """Give it back."""

    def destroy_executable(self, executable: int) -> None:
        """Give it back."""

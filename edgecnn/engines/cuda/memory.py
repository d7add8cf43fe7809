"""Memory on the GPU, and of the host where the GPU copies from and to."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.engines.cuda.runtime import CudaRuntime
from edgecnn.engines.cuda.scope import Scope

__all__ = ["Mirrored", "device_memory", "mirrored", "pinned_array"]


@dataclass(frozen=True, slots=True)
class Mirrored:
    """One array, on the host and on the GPU.

    Attributes:
        host: pinned; it must not be used after its scope has closed.
        device: address of its twin.
    """

    host: NDArray[Any]
    device: int

    def bytes_of(self, rows: int) -> int:
        """Of the first ``rows`` along the first dimension."""
        return rows * self.host.strides[0]


def device_memory(cuda: CudaRuntime, scope: Scope, nbytes: int) -> int:
    """Address of memory on the GPU that ``scope`` frees.

    Raises:
        EngineError: there is not enough.
    """
    address = cuda.allocate(nbytes)
    scope.on_close(partial(cuda.free, address))
    return address


def pinned_array(
    cuda: CudaRuntime, scope: Scope, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """An array of zeros in pinned memory that ``scope`` frees: no view of it may live longer.

    Raises:
        EngineError: there is not enough.
    """
    nbytes = math.prod(shape) * dtype.itemsize
    address = cuda.allocate_pinned(nbytes)
    scope.on_close(partial(cuda.free_pinned, address))
    memory = (ctypes.c_byte * nbytes).from_address(address)
    array: NDArray[Any] = np.frombuffer(memoryview(memory), dtype).reshape(shape)
    array[...] = 0
    return array


def mirrored(cuda: CudaRuntime, scope: Scope, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Mirrored:
    """An array on both sides that ``scope`` frees; zeros on the host.

    Raises:
        EngineError: there is not enough memory.
    """
    host = pinned_array(cuda, scope, shape, dtype)
    return Mirrored(host, device_memory(cuda, scope, host.nbytes))

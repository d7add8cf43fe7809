"""Memory and energy of NVIDIA GPUs, from the driver's management library (NVML)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from edgecnn.errors import DependencyMissingError, EngineUnavailableError

__all__ = ["Nvml", "open_nvml"]


class Nvml:
    """The open library.

    Jetson's GPU has no counters of its own: there every figure is None.

    Attributes:
        names: of the GPUs, in the driver's order.
    """

    def __init__(self, module: Any) -> None:  # noqa: ANN401 - pynvml has no types
        """Look up the GPUs of ``module``, pynvml after its ``nvmlInit``."""
        self._module = module
        self._gpus = [module.nvmlDeviceGetHandleByIndex(i) for i in range(module.nvmlDeviceGetCount())]
        self.names = tuple(str(module.nvmlDeviceGetName(gpu)) for gpu in self._gpus)

    def process_memory_bytes(self, pid: int) -> int | None:
        """GPU memory that the process ``pid`` holds on all GPUs.

        None where the driver does not list the process: it knows the host's process ids, and a container
        has others.
        """
        found = self._all("nvmlDeviceGetComputeRunningProcesses")
        held = [process.usedGpuMemory for listed in found or () for process in listed if process.pid == pid]
        return None if not held or None in held else sum(held)

    def used_memory_bytes(self) -> int | None:
        """Memory in use on all GPUs, by all processes and the driver."""
        found = self._all("nvmlDeviceGetMemoryInfo")
        return None if found is None else sum(int(memory.used) for memory in found)

    def energy_joules(self) -> float | None:
        """What all GPUs have used since the driver was loaded; None before Volta."""
        found = self._all("nvmlDeviceGetTotalEnergyConsumption")
        return None if found is None else sum(found) / 1000  # it counts millijoules

    def _all(self, function: str) -> list[Any] | None:
        """The answers of all GPUs; None when there is none, or one cannot answer."""
        try:
            answers = [getattr(self._module, function)(gpu) for gpu in self._gpus]
        except self._module.NVMLError:
            return None
        return answers or None


def open_nvml() -> Nvml:
    """Load the library; it stays loaded.

    Raises:
        DependencyMissingError: nvidia-ml-py, its binding for Python, is not installed.
        EngineUnavailableError: there is no NVIDIA driver, or it does not answer.
    """
    try:
        module = import_module("pynvml")
    except ImportError as error:
        raise DependencyMissingError(
            "nvidia-ml-py", "Reading the memory and energy of a GPU", "gpu"
        ) from error
    try:
        module.nvmlInit()
        return Nvml(module)
    except module.NVMLError as error:
        raise EngineUnavailableError(
            f"NVML, the library of the NVIDIA driver, does not open: {error}.",
            "Install the driver; in a container, start it with access to the GPU.",
        ) from error

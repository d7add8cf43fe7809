"""Memory, energy and condition of NVIDIA GPUs, from the driver's management library (NVML)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from edgecnn.errors import DependencyMissingError, EngineUnavailableError

__all__ = ["GpuCondition", "Nvml", "open_nvml"]

#: NVML_CLOCK_SM, NVML_CLOCK_MEM and NVML_TEMPERATURE_GPU of nvml.h.
_SM, _MEMORY, _CHIP = 1, 2, 0

#: What may hold a busy GPU's clocks down: bits of nvmlClocksEventReason in nvml.h.
_LIMITS = {
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x20: "temperature",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCondition:
    """What a GPU was doing at one moment; None for what it does not tell.

    Attributes:
        name: of the GPU.
        sm_mhz: clock of its processors.
        sm_max_mhz: the highest that it has.
        memory_mhz: clock of its memory.
        temperature_c: degrees Celsius.
        power_w: watts.
        used_bytes: memory in use by all processes.
        total_bytes: its memory.
        limited_by: what held its clocks down; () for nothing.
    """

    name: str
    sm_mhz: int | None = None
    sm_max_mhz: int | None = None
    memory_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    used_bytes: int | None = None
    total_bytes: int | None = None
    limited_by: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """Such as "NVIDIA H200: 1980 of 1980 MHz, 45 °C, 310 W, 12.1 of 141 GB used"."""
        facts = (
            (self.sm_mhz, f"{self.sm_mhz} of {self.sm_max_mhz} MHz"),
            (self.temperature_c, f"{self.temperature_c} °C"),
            (self.power_w, f"{self.power_w or 0:.0f} W"),
            (
                self.used_bytes,
                f"{(self.used_bytes or 0) / 1e9:.1f} of {(self.total_bytes or 0) / 1e9:.0f} GB used",
            ),
            (self.limited_by or None, f"held down by {', '.join(self.limited_by or ())}"),
        )
        told = [text for value, text in facts if value is not None]
        return f"{self.name}: {', '.join(told) or 'it tells nothing'}"


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

    def condition(self, name: str) -> GpuCondition | None:
        """Of the first GPU called ``name``; None where there is none."""
        if name not in self.names:
            return None
        gpu = self._gpus[self.names.index(name)]
        memory, power = self._ask("nvmlDeviceGetMemoryInfo", gpu), self._ask("nvmlDeviceGetPowerUsage", gpu)
        # The older name works with every version of nvidia-ml-py.
        reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", gpu)
        return GpuCondition(
            name=name,
            sm_mhz=self._ask("nvmlDeviceGetClockInfo", gpu, _SM),
            sm_max_mhz=self._ask("nvmlDeviceGetMaxClockInfo", gpu, _SM),
            memory_mhz=self._ask("nvmlDeviceGetClockInfo", gpu, _MEMORY),
            temperature_c=self._ask("nvmlDeviceGetTemperature", gpu, _CHIP),
            power_w=None if power is None else power / 1000,  # it tells milliwatts
            used_bytes=None if memory is None else int(memory.used),
            total_bytes=None if memory is None else int(memory.total),
            limited_by=None if reasons is None else tuple(_LIMITS[bit] for bit in _LIMITS if reasons & bit),
        )

    def _ask(self, function: str, gpu: Any, *arguments: int) -> Any:  # noqa: ANN401 - pynvml has no types
        """The answer of one GPU; None where it has none, as Jetson's mostly."""
        try:
            return getattr(self._module, function)(gpu, *arguments)
        except (self._module.NVMLError, AttributeError):
            return None

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

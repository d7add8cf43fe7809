"""Joules, from the counters that a machine has: RAPL, NVML, or the power rails of a Jetson.

They count whole chips, not processes, and idle power is included: measure on a machine that does nothing
else. Where nothing can be read the joules are None, never zero, and the note says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from edgecnn.errors import EdgecnnError
from edgecnn.nvml import Nvml, open_nvml
from edgecnn.timing.rapl import POWERCAP, find_rapl
from edgecnn.timing.tegrastats import find_tegrastats

__all__ = ["EnergyCounter", "EnergyMeter", "EnergyReading", "energy_meter"]


class EnergyCounter(Protocol):
    """Something that counts joules."""

    @property
    def note(self) -> str:
        """What it counts, in words."""

    def start(self) -> Callable[[], float]:
        """Begin a measurement; what is returned gives the joules since.

        Raises:
            OSError: the counter cannot be read any more; the returned function likewise.
        """

    def close(self) -> None:
        """Stop counting."""


@dataclass(slots=True)
class EnergyReading:
    """The energy of one block of code, once it has ended.

    Attributes:
        joules: None where they could not be read.
        note: what they were read from, or why they could not be.
    """

    joules: float | None
    note: str


class EnergyMeter:
    """Measures blocks of code: ``with meter.measure() as reading: ...``, then ``reading.joules``.

    Attributes:
        note: what it reads, or why it can read nothing.
    """

    def __init__(self, counters: tuple[EnergyCounter, ...], missing: str = "") -> None:
        """Make a meter that sums ``counters``; ``missing`` says what it lacks, and why."""
        self._counters = counters
        what = " and ".join(counter.note for counter in counters)
        parts = (what, "idle power included" if counters else "", missing)
        self.note = "; ".join(part for part in parts if part)

    @property
    def available(self) -> bool:
        """Whether it has a counter at all."""
        return bool(self._counters)

    @contextmanager
    def measure(self) -> Iterator[EnergyReading]:
        """Measure the ``with`` block; the reading is complete when it has ended without an error."""
        reading = EnergyReading(None, self.note)
        try:
            running = [counter.start() for counter in self._counters]
        except OSError as error:
            running, reading.note = [], _failed(error)
        yield reading
        if running:
            _finish(reading, running)

    def close(self) -> None:
        """Stop counting. A second call does nothing."""
        for counter in self._counters:
            counter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def energy_meter(device: str = "cpu", *, powercap: Path = POWERCAP) -> EnergyMeter:
    """A meter of what this machine has for an engine on ``device``.

    On a Jetson that is the power of the whole module; elsewhere the CPU's packages and memory by RAPL and,
    unless ``device`` is the CPU, all NVIDIA GPUs by NVML. Where a GPU does the work and cannot be read,
    nothing is; where RAPL is missing beside a GPU, the note says so.

    Args:
        device: as in :class:`edgecnn.engines.base.EngineInfo`: "cpu", or the name of a GPU.
        powercap: the folder of RAPL's counters.
    """
    if (jetson := find_tegrastats()) is not None:
        return EnergyMeter((jetson,))
    rapl = find_rapl(powercap)
    processor, missing = ((), rapl) if isinstance(rapl, str) else ((rapl,), "")
    if device == "cpu":
        return EnergyMeter(processor, missing)
    try:
        return EnergyMeter((*processor, GpuCounter(open_nvml())), missing)
    except EdgecnnError as error:
        return EnergyMeter((), f"NVML: {error.problem}")


class GpuCounter:
    """The energy of all NVIDIA GPUs, from the driver. It needs Volta or newer."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self.note = f"NVML ({', '.join(nvml.names)})"

    def start(self) -> Callable[[], float]:
        """See :class:`EnergyCounter`."""
        before = self._read()
        return lambda: self._read() - before

    def close(self) -> None:
        """The driver counts on."""

    def _read(self) -> float:
        joules = self._nvml.energy_joules()
        if joules is None:
            raise OSError("the driver does not tell the energy of this GPU")
        return joules


def _finish(reading: EnergyReading, running: list[Callable[[], float]]) -> None:
    try:
        joules = sum(since() for since in running)
    except OSError as error:
        reading.note = _failed(error)
        return
    if joules > 0:
        reading.joules = joules
    else:
        reading.note = f"The counters did not move: too short a time, or a virtual machine ({reading.note})."


def _failed(error: OSError) -> str:
    return f"The energy counter cannot be read any more: {error}"

"""The power rails of a Jetson, sampled by NVIDIA's tegrastats and added up to energy."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import islice
from threading import Lock, Thread
from typing import IO

__all__ = ["RailEnergy", "Tegrastats", "find_tegrastats", "power_watts"]

#: "VDD_IN 4984mW/4950mW" (now / average), in JetPack 4 without the unit: "POM_5V_IN 1750/1628".
_RAIL = re.compile(r"\b(?:(\w+) (\d+)mW/\d+mW|(POM_\w+) (\d+)/\d+)")

#: Rails through which everything flows; where a board has none, the others are added up.
_WHOLE = ("VDD_IN", "POM_5V_IN", "VIN")

#: Not a rail (no connection), and one that VIN_SYS_5V0 feeds and holds already (Jetson AGX Orin).
_INSIDE_OTHERS = ("NC", "VDDQ_VDD2_1V8AO")

_INTERVAL_MS = 50

#: A board without a power monitor is known after so many lines.
_FIRST_LINES = 3


def power_watts(line: str) -> tuple[float, tuple[str, ...]] | None:
    """The power that a line of tegrastats states, and the rails that it is the sum of; None without any."""
    found = {
        name or old: int(milliwatts or old_milliwatts) / 1000
        for name, milliwatts, old, old_milliwatts in _RAIL.findall(line)
    }
    whole = [rail for rail in _WHOLE if rail in found][:1]
    rails = tuple(whole or [rail for rail in found if rail not in _INSIDE_OTHERS])
    return (sum(found[rail] for rail in rails), rails) if rails else None


class RailEnergy:
    """Adds power up to energy: each sample holds until the next one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._joules = 0.0
        self._sample: tuple[float, float] | None = None

    def add(self, watts: float) -> None:
        """Take a sample of now."""
        with self._lock:
            self._joules, self._sample = self._until_now(), (self._clock(), watts)

    def joules(self) -> float:
        """Until now, since the first sample."""
        with self._lock:
            return self._until_now()

    def _until_now(self) -> float:
        if self._sample is None:
            return 0.0
        start, watts = self._sample
        return self._joules + (self._clock() - start) * watts


class Tegrastats:
    """The energy of a Jetson's module, while ``tegrastats`` runs.

    Attributes:
        note: what is counted.
    """

    def __init__(
        self, process: subprocess.Popen[str], lines: IO[str], first: tuple[float, tuple[str, ...]]
    ) -> None:
        """Count on from ``lines`` of ``process``, after one that said ``first`` (:func:`power_watts`)."""
        watts, rails = first
        self.note = f"tegrastats every {_INTERVAL_MS} ms ({' + '.join(rails)})"
        self._process, self._lines = process, lines
        self._energy = RailEnergy()
        self._energy.add(watts)
        self._ended = False
        self._reader = Thread(target=self._follow, daemon=True)
        self._reader.start()

    def start(self) -> Callable[[], float]:
        """Begin a measurement; what is returned gives the joules since.

        Raises:
            OSError: tegrastats has ended; the returned function likewise.
        """
        before = self._joules()
        return lambda: self._joules() - before

    def close(self) -> None:
        """End tegrastats."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        self._lines.close()

    def _joules(self) -> float:
        if self._ended:
            raise OSError("tegrastats has ended")
        return self._energy.joules()

    def _follow(self) -> None:
        for line in self._lines:
            if (found := power_watts(line)) is not None:
                self._energy.add(found[0])
        self._ended = True


def find_tegrastats(command: str = "tegrastats") -> Tegrastats | None:
    """Start ``tegrastats``; None where there is none, or it names no rail of power."""
    path = shutil.which(command)
    if path is None:
        return None
    process = subprocess.Popen(  # noqa: S603 - found on the user's own path
        [path, "--interval", str(_INTERVAL_MS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    readings = map(power_watts, islice(process.stdout, _FIRST_LINES))
    first = next((reading for reading in readings if reading is not None), None)
    if first is not None:
        return Tegrastats(process, process.stdout, first)
    process.terminate()
    process.wait()
    process.stdout.close()
    return None

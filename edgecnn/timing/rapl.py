"""The energy counters of Intel's and AMD's processors (RAPL), from Linux's powercap folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["POWERCAP", "Rapl", "Zone", "find_rapl"]

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class Zone:
    """One counter.

    Attributes:
        name: such as "package-0" or "dram".
        folder: where its files are.
        range_uj: where it starts again at zero, in microjoules.
    """

    name: str
    folder: Path
    range_uj: int

    def read_uj(self) -> int:
        """Microjoules from an arbitrary start."""
        return int((self.folder / "energy_uj").read_text(encoding="ascii"))

    def joules(self, before_uj: int, after_uj: int) -> float:
        """From one reading to a later one, between which the counter started again at most once.

        It does so after ``range_uj``: 65 or 262 kJ, which is ten minutes at 100 W at the least.
        """
        return (after_uj - before_uj) % self.range_uj / 1e6


class Rapl:
    """The energy of all processor packages, and of the memory where it is counted apart.

    Attributes:
        note: what is counted.
    """

    def __init__(self, zones: tuple[Zone, ...]) -> None:
        self._zones = zones
        self.note = f"RAPL ({', '.join(zone.name for zone in zones)})"

    def start(self) -> Callable[[], float]:
        """Begin a measurement; what is returned gives the joules since, and raises OSError like this."""
        before = [zone.read_uj() for zone in self._zones]

        def since() -> float:
            pairs = zip(self._zones, before, strict=True)
            return sum(zone.joules(start, zone.read_uj()) for zone, start in pairs)

        return since

    def close(self) -> None:
        """The processor counts on."""


def find_rapl(powercap: Path = POWERCAP) -> Rapl | str:
    """The counters under ``powercap``, or, in words, why there are none.

    AMD's are found under Intel's name, since one driver serves both. A zone "package-N" holds its sub-zones
    "core" and "uncore", but not "dram". On laptops that have it "psys" holds everything and would count
    twice; so would the mirror images ``intel-rapl-mmio``.
    """
    if not powercap.is_dir():
        return f"RAPL: there is no {powercap} (a virtual machine, a container, or not Linux)"
    folders = sorted(powercap.glob("intel-rapl:*"))
    named = {folder: _text(folder / "name") for folder in folders}
    counted = {folder: name for folder, name in named.items() if name.startswith("package") or name == "dram"}
    if not counted:
        return f"RAPL: {powercap} holds no counter of a processor (kernel module intel_rapl_msr)"
    try:
        return Rapl(tuple(_zone(folder, name) for folder, name in counted.items()))
    except PermissionError as error:
        return (
            f"RAPL: {error.filename} may be read by root only; run as root, or allow it until the "
            f"next start: sudo chmod a+r {powercap}/intel-rapl:*/energy_uj"
        )
    except (OSError, ValueError) as error:
        return f"RAPL: its counters cannot be read: {error}"


def _zone(folder: Path, name: str) -> Zone:
    zone = Zone(name, folder, int(_text(folder / "max_energy_range_uj")))
    zone.read_uj()
    if zone.range_uj < 1:
        raise ValueError(f"{folder}/max_energy_range_uj is {zone.range_uj}")
    return zone


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""

"""What a process and its descendants use, read from Linux's /proc."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cpu_seconds", "process_tree", "resident_bytes"]

_PROC = Path("/proc")

#: Fields of /proc/PID/stat from the third on (proc(5)): those after the name, which may hold anything.
_PARENT, _UTIME, _STIME, _CUTIME, _CSTIME, _RSS_PAGES = 1, 11, 12, 13, 14, 21


def process_tree(pid: int) -> tuple[int, ...]:
    """``pid`` and all its descendants that live, parents first."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal() and (fields := _fields(int(folder.name))):
            children.setdefault(int(fields[_PARENT]), []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += sorted(children.get(each, []))
    return tuple(found)


def cpu_seconds(pid: int) -> float:
    """CPU that the tree has used so far, in steps of 10 ms, that of ended children included."""
    ticks = sum(
        int(fields[at])
        for each in process_tree(pid)
        if (fields := _fields(each))
        for at in (_UTIME, _STIME, _CUTIME, _CSTIME)
    )
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Resident memory of the tree; pages that processes share count for each of them."""
    pages = sum(int(fields[_RSS_PAGES]) for each in process_tree(pid) if (fields := _fields(each)))
    return pages * os.sysconf("SC_PAGE_SIZE")


def _fields(pid: int) -> list[str]:
    """Empty where the process is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()

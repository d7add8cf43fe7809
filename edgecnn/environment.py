"""The machine that a measurement was taken on. Standard library only, so that anything may import it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import ceil
from pathlib import Path

__all__ = ["PACKAGES", "Environment", "describe_environment", "usable_cores"]

#: The packages whose versions change results, and edgecnn itself.
PACKAGES = (
    "edgecnn",
    "numpy",
    "pillow",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "nncf",
    "tensorrt",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "cuda-bindings",
    "mlcommons-loadgen",
    "torch",
    "torchvision",
    "timm",
    "onnxscript",
)

#: Instruction sets that decide how fast int8, bf16 and fp16 run; names as in Linux's /proc/cpuinfo.
_SPEED_FLAGS = (
    *("avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8", "avx512f", "avx512bw", "avx512_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)

#: The names that macOS has for some of them.
_MACOS_FEATURES = {
    "hw.optional.avx1_0": "avx",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.fma": "fma",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512bw": "avx512bw",
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_SME": "sme",
}

_CPUINFO = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a measurement depends on besides the model; the "environment" of the result schema.

    Attributes:
        cpu: its model name, or the board's where the CPU has none.
        cores: how many this process may use (:func:`usable_cores`).
        gpu: names of the NVIDIA GPUs, joined by commas; None where there is none, or none that works.
        driver: version of the NVIDIA driver; None likewise.
        gpu_problem: what nvidia-smi said when it is installed and failed.
        versions: of the packages that were asked for and are installed, by distribution name.
        started: when this was collected, ISO 8601 in UTC.
        os: name and kernel.
        python: its version.
        memory_bytes: RAM that this process may use; None where it is not known.
        instruction_sets: those that decide the speed of int8, bf16 and fp16; None where not known.
    """

    cpu: str
    cores: int
    gpu: str | None = None
    driver: str | None = None
    gpu_problem: str | None = None
    versions: dict[str, str]
    started: str
    os: str
    python: str
    memory_bytes: int | None = None
    instruction_sets: tuple[str, ...] | None = None


def describe_environment(packages: Sequence[str] = PACKAGES) -> Environment:
    """Look at this machine, and at the versions of ``packages`` (distribution names).

    A package that is not installed is left out. Imports nothing and needs no package; starts nvidia-smi
    (tens to hundreds of milliseconds) where it is installed.
    """
    gpu, driver, problem = _nvidia()
    return Environment(
        cpu=_cpu_name(),
        cores=usable_cores(),
        gpu=gpu,
        driver=driver,
        gpu_problem=problem,
        versions={name: found for name in packages if (found := _version(name)) is not None},
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        os=_os_name(),
        python=platform.python_version(),
        memory_bytes=_memory_bytes(),
        instruction_sets=_instruction_sets(),
    )


def usable_cores() -> int:
    """How many cores this process may use: its affinity, cut by the cgroup's quota of CPU time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _cgroup_cores() or cores))


def _cgroup_cores() -> int | None:
    """The container's quota in whole cores, rounded up; None without one (control groups, version 2)."""
    quota, _, period = (_read(_CGROUP / "cpu.max") or "").partition(" ")
    return ceil(int(quota) / int(period)) if quota.isdecimal() and period.isdecimal() else None


def _memory_bytes() -> int | None:
    """Physical memory, cut by the container's limit."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf; others may lack a name
        return None
    limit = _read(_CGROUP / "memory.max") or ""
    return min(physical, int(limit)) if limit.isdecimal() else physical


def _cpu_name() -> str:
    """The CPU's model name; of ARM boards, which have none in Linux, the board's."""
    facts = _cpu_facts()
    named = facts.get("model name") or _sysctl("machdep.cpu.brand_string") or facts.get("Model")
    board = (_read(_BOARD) or "").rstrip("\0")
    return named or board or platform.processor() or platform.machine() or "unknown"


def _instruction_sets() -> tuple[str, ...] | None:
    """Which of the instruction sets that matter are there, from Linux or macOS."""
    facts = _cpu_facts()
    if listed := facts.get("flags") or facts.get("Features"):
        flags = set(listed.split())
        return tuple(name for name in _SPEED_FLAGS if name in flags)
    if platform.system() == "Darwin":
        return tuple(name for key, name in _MACOS_FEATURES.items() if _sysctl(key) == "1")
    return None


def _cpu_facts() -> dict[str, str]:
    """Linux's facts of the first core, and of the board; empty elsewhere."""
    facts: dict[str, str] = {}
    for line in (_read(_CPUINFO) or "").splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return facts


def _os_name() -> str:
    """Such as "Debian GNU/Linux 12 (bookworm), Linux 6.1.0 x86_64"."""
    kernel = f"{platform.system()} {platform.release()} {platform.machine()}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    except (OSError, KeyError):  # not Linux, or a distribution without the file
        macos = platform.mac_ver()[0]
        return f"macOS {macos}, {kernel}" if macos else kernel


def _nvidia() -> tuple[str | None, str | None, str | None]:
    """Names of the GPUs, the driver's version, and what went wrong, from nvidia-smi."""
    try:
        answer = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    except FileNotFoundError:
        return None, None, None
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stdout", None) or error
        return None, None, f"nvidia-smi failed: {said}".strip()
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines()]
    if not rows:
        return None, None, "nvidia-smi lists no GPU."
    return ", ".join(row[0] for row in rows), rows[0][-1], None


def _sysctl(name: str) -> str | None:
    """A value of macOS's kernel; None elsewhere, or for a name that it does not have."""
    if platform.system() != "Darwin":
        return None
    try:
        return _output("sysctl", "-n", name)
    except (OSError, subprocess.SubprocessError):
        return None


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout.strip()  # noqa: S603 - fixed commands


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):  # another system's file
        return None

"""What is read of the machine, on machines of several kinds."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from edgecnn import environment
from edgecnn.environment import describe_environment, usable_cores

X86 = """processor\t: 0
model name\t: AMD EPYC 9474F
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni amx_int8 rdtscp

processor\t: 1
model name\t: AMD EPYC 9474F
flags\t\t: fpu
"""
RASPBERRY = """processor\t: 0
Features\t: fp asimd evtstrm crc32 asimdhp asimddp
CPU implementer\t: 0x41

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
JETSON = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU part\t: 0xd42\n"

Program = Callable[[str, str], None]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the system's files: cpuinfo, board, cpu.max, memory.max."""
    monkeypatch.setattr(environment, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(environment, "_BOARD", tmp_path / "board")
    monkeypatch.setattr(environment, "_CGROUP", tmp_path)
    return tmp_path


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Makes a program that is the only one to be found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return make


def test_this_machine() -> None:
    here = describe_environment(("numpy", "no-such-package"))
    assert here.versions == {"numpy": version("numpy")}
    assert here.python == platform.python_version()
    assert 1 <= here.cores <= (os.cpu_count() or 1)
    assert here.memory_bytes is None or here.memory_bytes > 1 << 28
    assert platform.machine() in here.os
    assert abs((datetime.now(UTC) - datetime.fromisoformat(here.started)).total_seconds()) < 60


@pytest.mark.parametrize(
    ("cpuinfo", "board", "name", "sets"),
    [
        (X86, "", "AMD EPYC 9474F", ("avx2", "avx512f", "avx512_vnni", "amx_int8")),
        (RASPBERRY, "", "Raspberry Pi 5 Model B Rev 1.0", ("asimd", "asimdhp", "asimddp")),
        (JETSON, "NVIDIA Jetson Orin Nano\0", "NVIDIA Jetson Orin Nano", ("asimd", "asimddp", "i8mm")),
    ],
    ids=["x86", "raspberry", "jetson"],
)
def test_cpu_and_its_instruction_sets(
    files: Path, cpuinfo: str, board: str, name: str, sets: tuple[str, ...]
) -> None:
    (files / "cpuinfo").write_text(cpuinfo)
    (files / "board").write_text(board)
    here = describe_environment(())
    assert (here.cpu, here.instruction_sets) == (name, sets)


@pytest.mark.usefixtures("files")
def test_a_system_without_such_files_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_release() -> dict[str, str]:
        raise OSError

    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setattr(platform, "freedesktop_os_release", no_release)
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    here = describe_environment(())
    assert here.instruction_sets is None
    assert here.memory_bytes is None
    assert here.cpu
    assert here.os.startswith("Windows")
    assert here.cores == os.cpu_count()


@pytest.mark.usefixtures("files")
def test_macos(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    program(
        "sysctl",
        'case "$2" in machdep.cpu.brand_string) echo "Apple M4";; *DotProd|*I8MM) echo 1;; *BF16) echo 0;;'
        " *) exit 1;; esac",
    )
    here = describe_environment(())
    assert (here.cpu, here.instruction_sets) == ("Apple M4", ("asimddp", "i8mm"))


def test_a_containers_limits_count(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert usable_cores() == 8
    for quota, cores in {"max 100000": 8, "150000 100000": 2, "50000 100000": 1, "1600000 100000": 8}.items():
        (files / "cpu.max").write_text(f"{quota}\n")
        assert usable_cores() == cores
    (files / "memory.max").write_text("536870912\n")
    assert describe_environment(()).memory_bytes == 1 << 29
    (files / "memory.max").write_text("max\n")
    assert (describe_environment(()).memory_bytes or 0) > 1 << 29


def test_gpus_by_name(program: Program) -> None:
    program("nvidia-smi", 'echo "NVIDIA H200, 580.159.04"; echo "NVIDIA L4, 580.159.04"')
    here = describe_environment(())
    assert (here.gpu, here.driver, here.gpu_problem) == ("NVIDIA H200, NVIDIA L4", "580.159.04", None)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ('echo "could not reach the driver"; exit 9', "nvidia-smi failed: could not reach the driver"),
        ("exit 6", "nvidia-smi failed: "),
        ("true", "nvidia-smi lists no GPU."),
    ],
)
def test_a_gpu_that_does_not_answer_is_not_no_gpu(program: Program, script: str, problem: str) -> None:
    program("nvidia-smi", script)
    here = describe_environment(())
    assert here.gpu is None
    assert here.gpu_problem is not None
    assert here.gpu_problem.startswith(problem)


@pytest.mark.usefixtures("program")
def test_no_gpu() -> None:
    here = describe_environment(())
    assert (here.gpu, here.driver, here.gpu_problem) == (None, None, None)

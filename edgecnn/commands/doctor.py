"""``edgecnn doctor``: which engines open on this machine, and why the others do not."""

from __future__ import annotations

import click

from edgecnn.commands.console import Column, Terminal, terminal_options
from edgecnn.engines.gpu_software import GpuSoftware, find_gpu_software
from edgecnn.engines.survey import EngineStatus, runtime_clash, survey
from edgecnn.environment import Environment, describe_environment

__all__ = ["doctor"]

_COLUMNS = (
    Column("engine", number=False),
    Column("opens", number=False),
    Column("version", number=False),
    Column("device", number=False),
    Column("threads"),
    Column("providers", number=False),
)


@click.command()
@terminal_options
def doctor(terminal: Terminal) -> None:
    """Show which engines open on this machine, and what the others would need.

    Loads the library of every engine. Exit code 0 if at least one engine opens, else 1.
    """
    environment, software = describe_environment(), find_gpu_software()
    engines = survey()
    clash = runtime_clash(environment.versions)
    if terminal.json:
        warnings = [clash] if clash else []
        terminal.document(
            {
                "environment": environment,
                "gpu_software": software,
                "engines": engines,
                "warnings": warnings,
            }
        )
    else:
        _print(terminal, _facts(environment) | _layers(software), engines)
    if clash:
        terminal.warn(clash)
    if not any(engine.opens for engine in engines):
        raise click.exceptions.Exit(1)


def _print(terminal: Terminal, facts: dict[str, str], engines: tuple[EngineStatus, ...]) -> None:
    for name, value in facts.items():
        terminal.line(f"{name:<17}{value}")
    terminal.line("")
    terminal.table(_COLUMNS, [_row(engine) for engine in engines])
    for engine in engines:
        if not engine.opens:
            terminal.line(f"\n{engine.name}: {engine.problem}\n{engine.remedy}")


def _facts(environment: Environment) -> dict[str, str]:
    """The machine, line by line."""
    gpu = f"{environment.gpu} (driver {environment.driver})" if environment.gpu else environment.gpu_problem
    memory, sets = environment.memory_bytes, environment.instruction_sets
    packages = (f"{name} {version}" for name, version in environment.versions.items())
    return {
        "system": environment.os,
        "python": environment.python,
        "cpu": f"{environment.cpu}, {environment.cores} cores usable",
        "instruction sets": "not known" if sets is None else " ".join(sets) or "none of those that matter",
        "memory": "not known" if memory is None else f"{memory / 2**30:.1f} GiB",
        "gpu": gpu or "no NVIDIA GPU found",
        "packages": ", ".join(packages),
    }


def _layers(software: GpuSoftware) -> dict[str, str]:
    """NVIDIA's software, line by line, from the driver up."""
    driver = f"knows CUDA {software.driver}" if software.driver else "no NVIDIA driver"
    found = {
        "cuda runtime": software.runtime,
        "cuda-bindings": software.bindings,
        "cudnn": software.cudnn,
        "tensorrt": software.tensorrt,
        "tensorrt-rtx": software.tensorrt_rtx,
    }
    return {"driver": driver} | {name: text or "not found" for name, text in found.items()}


def _row(engine: EngineStatus) -> tuple[object, ...]:
    info = engine.info
    if info is None:
        return engine.name, "no", None, None, None, None
    providers = ", ".join(info.providers) or None
    return engine.name, "yes", info.version, info.device, info.threads, providers

"""The memory that a model takes in an engine, measured in fresh processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory

import msgspec

from edgecnn.artifact import Artifact
from edgecnn.engines.choice import EngineChoice
from edgecnn.engines.footprint import Failure, Footprint, FootprintRequest
from edgecnn.errors import EdgecnnError, EngineError, EngineUnavailableError
from edgecnn.nvml import open_nvml
from edgecnn.reports.result import MemoryBytes

__all__ = ["measure_footprint", "measure_memory"]

_COMMAND = (sys.executable, "-P", "-m", "edgecnn.engines.footprint")

#: Processes for one figure: resident memory varies by some percent with the layout of the address space.
_PROCESSES = 3

#: Long enough for torch.compile on a small machine.
_TIMEOUT_S = 600.0


def measure_memory(
    choice: EngineChoice, artifact: Artifact, batch: int, *, timeout_s: float = _TIMEOUT_S
) -> MemoryBytes:
    """The peaks of ``artifact`` in the engine ``choice`` above an empty process, at ``batch`` images a run.

    Medians of three processes. An artifact of a fixed batch runs in its own.

    Args:
        choice: the engine and its options.
        artifact: the model.
        batch: images a run.
        timeout_s: for each process.

    Raises:
        EngineUnavailableError: the engine cannot open on this machine.
        EngineError: the artifact does not open in it or fails to run, or the process crashed, ran out of
            memory or took too long.
    """
    found = measure_footprint(choice, artifact, batch, timeout_s=timeout_s)
    return MemoryBytes(
        file=artifact.size_bytes(),
        runtime=_above(found.empty, found.runtime),
        load=_above(found.empty, found.load),
        first_run=_above(found.empty, found.first_run),
        peak=_above(found.empty, found.peak),
        device=found.device_memory,
    )


def measure_footprint(
    choice: EngineChoice,
    artifact: Artifact,
    batch: int,
    *,
    processes: int = _PROCESSES,
    timeout_s: float = _TIMEOUT_S,
) -> Footprint:
    """Like :func:`measure_memory`: the peaks themselves, each the median of ``processes``."""
    request = FootprintRequest(
        engine=choice.text, artifact=str(artifact.path.resolve()), spec=artifact.spec, batch=batch
    )
    with _environment() as variables:
        found = [_of_one_process(request, timeout_s, variables) for _ in range(processes)]
    return Footprint(
        empty=_median([each.empty for each in found]),
        runtime=_median([each.runtime for each in found]),
        load=_median([each.load for each in found]),
        first_run=_median([each.first_run for each in found]),
        peak=_median([each.peak for each in found]),
        device=found[0].device,
        device_memory=_median([each.device_memory for each in found]),
    )


@contextmanager
def _environment() -> Iterator[dict[str, str]]:
    """Variables of the processes: they find the same modules, and keep what they compiled for one another.

    Where Python may write no bytecode (PYTHONDONTWRITEBYTECODE, as containers have it) it compiles every
    module anew, and the engine fills the memory that this leaves free: its figures would lack some 5 MB.
    """
    path = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    variables = {**os.environ, "PYTHONPATH": path}
    if not sys.dont_write_bytecode:
        yield variables
        return
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    with TemporaryDirectory(prefix="edgecnn-bytecode-") as folder:
        yield {**variables, "PYTHONPYCACHEPREFIX": folder}


def _of_one_process(request: FootprintRequest, timeout_s: float, variables: dict[str, str]) -> Footprint:
    before = _used_on_gpus()
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            _COMMAND,
            input=msgspec.json.encode(request),
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env=variables,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"The process that measures the memory of {_what(request)} did not end within {timeout_s:g} s.",
            "Measure on an idle machine, or a smaller batch.",
        ) from error
    try:
        if done.returncode == 0:
            return _with_device_memory(msgspec.json.decode(done.stdout, type=Footprint), before)
        failure = msgspec.json.decode(done.stdout, type=Failure)
    except msgspec.DecodeError as error:
        raise _crash(request, done) from error
    raise (EngineUnavailableError if failure.unavailable else EngineError)(failure.problem, failure.remedy)


def _with_device_memory(found: Footprint, used_before: int | None) -> Footprint:
    """Where the driver does not know the process (in a container), how much more was in use counts."""
    if found.device_memory is not None or found.device_used is None or used_before is None:
        return found
    return replace(found, device_memory=max(0, found.device_used - used_before))


def _used_on_gpus() -> int | None:
    try:
        return open_nvml().used_memory_bytes()
    except EdgecnnError:
        return None


def _crash(request: FootprintRequest, done: subprocess.CompletedProcess[bytes]) -> EngineError:
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == -signal.SIGKILL:
        ended, remedy = "was killed", "It probably ran out of memory: try a smaller batch, or free some."
    else:
        ended = f"ended with {done.returncode}"
        remedy = "The engine's library crashed: see whether the model runs with 'edgecnn predict'."
    words = f": {said[-1]}" if said else ""
    return EngineError(f"The process that measures the memory of {_what(request)} {ended}{words}", remedy)


def _what(request: FootprintRequest) -> str:
    return f"{request.spec.network!r} in {request.engine}"


def _median(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return median_low(known) if len(known) == len(values) else None


def _above(empty: int | None, peak: int | None) -> int | None:
    return None if empty is None or peak is None else peak - empty

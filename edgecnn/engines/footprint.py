"""How much memory an engine takes with a model, phase by phase, in a process that does nothing else.

``python -m edgecnn.engines.footprint`` is a private interface: a :class:`FootprintRequest` as JSON on its
standard input, a :class:`Footprint` or a :class:`Failure` as JSON on its standard output.

A peak belongs to a whole process and never falls, hence a fresh process for each figure. Its first reading,
``empty``, is of a process that holds Python, numpy, and edgecnn with the packages that its contracts need
(msgspec), but no engine's library: what is above it is what the engine and the model cost. A script
without edgecnn starts lower and rises by as much (``scripts/check_memory.py`` compares them).
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edgecnn.artifact import Artifact
from edgecnn.engines import Engine, engine_type
from edgecnn.engines.choice import open_choice, parse_choice
from edgecnn.errors import EdgecnnError, EngineUnavailableError
from edgecnn.nvml import open_nvml
from edgecnn.spec import ModelSpec

__all__ = ["Failure", "Footprint", "FootprintRequest", "main", "peak_rss_bytes"]

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class FootprintRequest:
    """What the process is to do.

    Attributes:
        engine: as :func:`edgecnn.engines.choice.parse_choice` reads it.
        artifact: path of the model file.
        spec: of the model, so that the process need not parse the file for it.
        batch: images in each run.
        runs: how many runs make the steady state, at most ...
        seconds: ... for so long, but at least :attr:`least_runs`.
        least_runs: see there.
    """

    engine: str
    artifact: str
    spec: ModelSpec
    batch: int = 1
    runs: int = 100
    seconds: float = 3.0
    least_runs: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Peak resident memory of the process up to the end of each phase, in bytes; None where not known.

    Resident pages of shared libraries and of the mapped model file count, as they do for ``/usr/bin/time``.

    Attributes:
        empty: before the engine's library was imported.
        runtime: once it was imported.
        load: once the model was open.
        first_run: once it had run; the input and the scores of one batch count from here on.
        peak: after many runs.
        device: what ran it, "cpu" or the name of the GPU.
        device_memory: GPU memory of the process; None without a GPU, and where the driver does not tell.
        device_used: GPU memory of all processes, on all GPUs; likewise.
    """

    empty: int | None
    runtime: int | None
    load: int | None
    first_run: int | None
    peak: int | None
    device: str
    device_memory: int | None = None
    device_used: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The error that kept the engine from running.

    Attributes:
        unavailable: whether the engine is missing here, rather than failed.
        problem: as in :class:`edgecnn.errors.EdgecnnError`.
        remedy: likewise.
    """

    unavailable: bool
    problem: str
    remedy: str


def peak_rss_bytes() -> int | None:
    """The most memory that this process has had resident so far; None where the system does not say.

    Linux's ``VmHWM``. Elsewhere ``ru_maxrss``, which Linux lets a process inherit from the one that started
    it, so that it is no measure of a fresh one there.
    """
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return _max_rss_bytes()
    kibibytes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kibibytes[0]) * 1024 if kibibytes else None


def main() -> int:
    """Serve one request; the exit code says whether it succeeded."""
    empty = peak_rss_bytes()
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries may print: only the answer goes out
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=FootprintRequest)
    try:
        outcome: Footprint | Failure = _measured(request, empty)
    except EdgecnnError as error:
        unavailable = isinstance(error, EngineUnavailableError)
        outcome = Failure(unavailable=unavailable, problem=error.problem, remedy=error.remedy)
    with os.fdopen(answer, "wb") as stream:
        stream.write(msgspec.json.encode(outcome))
    return int(isinstance(outcome, Failure))


def _measured(request: FootprintRequest, empty: int | None) -> Footprint:
    choice = parse_choice(request.engine)
    engine_type(choice.name)
    runtime = _peak_since(empty)
    with open_choice(choice, Artifact(Path(request.artifact), request.spec)) as engine:
        load = _peak_since(runtime)
        images = _images(request)
        engine.run(images)
        first_run = _peak_since(load)
        _run_often(engine, images, request)
        peak = _peak_since(first_run)
        held, used = (None, None) if engine.info.device == "cpu" else _device_memory()
        return Footprint(
            empty=empty,
            runtime=runtime,
            load=load,
            first_run=first_run,
            peak=peak,
            device=engine.info.device,
            device_memory=held,
            device_used=used,
        )


def _peak_since(earlier: int | None) -> int | None:
    """The peak now. Linux counts in batches, so that its figure may fall by some pages; a peak does not."""
    now = peak_rss_bytes()
    return None if now is None or earlier is None else max(now, earlier)


def _images(request: FootprintRequest) -> np.ndarray:
    """Ones, since memory of zeros is not resident before it is written to."""
    tensor = request.spec.input
    own = tensor.shape[0]
    sizes = [size for size in tensor.shape[1:] if isinstance(size, int)]
    return np.ones((own if isinstance(own, int) else request.batch, *sizes), tensor.dtype)


def _run_often(engine: Engine, images: np.ndarray, request: FootprintRequest) -> None:
    end = time.monotonic() + request.seconds
    for run in range(request.runs):
        if run >= request.least_runs and time.monotonic() >= end:
            return
        engine.run(images)


def _device_memory() -> tuple[int | None, int | None]:
    """GPU memory of this process, and of all; read last, since the driver's library takes memory, too."""
    try:
        nvml = open_nvml()
    except EdgecnnError:
        return None, None
    return nvml.process_memory_bytes(os.getpid()), nvml.used_memory_bytes()


def _max_rss_bytes() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


if __name__ == "__main__":
    sys.exit(main())

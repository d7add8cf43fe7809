"""Starts the process that builds, listens to it, and ends it with what it was started for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.plans.messages import BuildJob, Built, Failed, Message, Progress

__all__ = ["run_job"]

#: So many characters of what a crashed process wrote last are shown.
_SHOWN = 600


def run_job(
    job: BuildJob, observe: Callable[[Progress], None], *, device: int = 0, timeout_s: float | None = None
) -> Built:
    """Have a process of its own do ``job``. When this is left in any way, that process is gone.

    Args:
        job: what to build.
        observe: told about each step; what it raises ends the build.
        device: number of the GPU, among those that this process may use.
        timeout_s: end it after so many seconds; None for never.

    Raises:
        EngineUnavailableError: TensorRT does not work here.
        EngineError: the build failed, crashed, was killed, or took too long.
    """
    request, words = Path(job.folder) / "job.json", Path(job.folder) / "words.txt"
    request.write_bytes(msgspec.json.encode(job))
    command = [sys.executable, "-m", "edgecnn.plans.child", str(request)]
    pipe = subprocess.PIPE
    with (
        words.open("wb") as errors,
        subprocess.Popen(  # noqa: S603 - this Python
            command, stdin=pipe, stdout=pipe, stderr=errors, env=_seeing(device, os.environ)
        ) as process,
        _ended(process, timeout_s) as late,
    ):
        result = _listen(process, observe)
        process.wait()
    if isinstance(result, Built):
        return result
    if isinstance(result, Failed):
        kind = EngineUnavailableError if result.unavailable else EngineError
        raise kind(result.problem, result.remedy)
    if late.is_set():
        raise EngineError(
            f"The plan of {job.called} was not built within {timeout_s:g} seconds.",
            "Allow more time, or keep a timing cache: the next build of a similar model is faster.",
        )
    raise _crash(job, process.returncode, words.read_text(errors="replace"))


@contextmanager
def _ended(process: subprocess.Popen[bytes], timeout_s: float | None) -> Iterator[threading.Event]:
    """Kill ``process`` on the way out if it still runs, and when time is up; the event says that it is."""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        process.kill()

    timer = None if timeout_s is None else threading.Timer(timeout_s, give_up)
    try:
        if timer is not None:
            timer.start()
        yield late
    finally:
        if timer is not None:
            timer.cancel()
        process.kill()
        process.wait()


def _listen(process: subprocess.Popen[bytes], observe: Callable[[Progress], None]) -> Built | Failed | None:
    """The last word of the process; None if it had none."""
    assert process.stdout is not None
    decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
    for line in process.stdout:
        try:
            message = decoder.decode(line)
        except msgspec.DecodeError:  # cut off by its end
            return None
        if not isinstance(message, Progress):
            return message
        observe(message)
    return None


def _seeing(device: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which the GPU ``device`` is the first: TensorRT builds on that."""
    if device == 0:
        return dict(environment)
    visible = [
        name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()
    ]
    chosen = visible[device] if device < len(visible) else str(device)
    return {**environment, "CUDA_VISIBLE_DEVICES": chosen}


def _crash(job: BuildJob, code: int, words: str) -> EngineError:
    said = " ".join(words.split())[-_SHOWN:]
    last = f" Its last words: {said}" if said else ""
    if os.name == "posix" and code == -signal.SIGKILL:
        return EngineError(
            f"The build of {job.called} was killed from outside, most likely for want of memory.{last}",
            "Close other programs, or build for smaller batches (--batch).",
        )
    how = signal.Signals(-code).name if os.name == "posix" and code < 0 else f"exit code {code}"
    return EngineError(
        f"TensorRT crashed while it built {job.called} ({how}); no file was written.{last}",
        "Try another --precision or --batch, or another version of TensorRT, and report it to NVIDIA.",
    )

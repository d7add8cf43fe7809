"""The process in which a plan is built: a crash of TensorRT ends it and nothing else.

``python -m edgecnn.plans.child JOB`` is a private interface: JOB is a file with a :class:`BuildJob` as JSON;
messages go to its standard output, a line of JSON each. Its standard input says nothing, and its end says
that nobody waits any more: then the process cleans up and ends, whatever TensorRT is doing.

A process of its own for each build, because the first build after a failed one gave another plan in the same
process (TensorRT for RTX 1.7.1, docs/gpu).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from edgecnn.errors import EdgecnnError, EngineUnavailableError
from edgecnn.plans.compile import compile_plan
from edgecnn.plans.flavour import find_flavour, load
from edgecnn.plans.messages import BuildJob, Built, Failed, Message

__all__ = ["main"]

#: A build that takes no step and next to no CPU time for so long stands still: seen when TensorRT's threads
#: ran out of memory, and waited for each other for ever.
_STILL_S = 120.0
_STILL_CPU_S = 0.5


class _Answers:
    """The way back, which TensorRT's threads share."""

    def __init__(self) -> None:
        """Keep standard output for messages: what libraries print goes to standard error."""
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        self._lock = threading.Lock()
        self.sent = 0
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(self, message: Message) -> None:
        with self._lock:
            self.sent += 1
            self._out.write(msgspec.json.encode(message) + b"\n")


def main(arguments: list[str]) -> int:
    """Build one plan; the exit code says whether it was built."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the other side decides
    answers = _Answers()
    job = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=BuildJob)
    threading.Thread(target=_end_with_the_other_side, args=(Path(job.folder),), daemon=True).start()
    threading.Thread(target=_end_if_it_stands_still, args=(job, answers), daemon=True).start()
    result = _built(job, answers)
    answers.send(result)
    return int(isinstance(result, Failed))


def _end_with_the_other_side(folder: Path) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _end_if_it_stands_still(job: BuildJob, answers: _Answers) -> None:
    while True:
        before = (answers.sent, time.process_time())
        time.sleep(_STILL_S)
        if answers.sent == before[0] and time.process_time() - before[1] < _STILL_CPU_S:
            problem = f"TensorRT stands still while it builds {job.called}, most likely for want of memory."
            remedy = "Close other programs, or build for smaller batches (--batch)."
            answers.send(Failed(unavailable=False, problem=problem, remedy=remedy))
            os._exit(1)


def _built(job: BuildJob, answers: _Answers) -> Built | Failed:
    flavour = find_flavour(job.flavour)
    try:
        return compile_plan(load(flavour), flavour, job, answers.send)
    except EdgecnnError as error:
        unavailable = isinstance(error, EngineUnavailableError)
        return Failed(unavailable=unavailable, problem=error.problem, remedy=error.remedy)
    except OSError as error:
        return Failed(
            unavailable=False,
            problem=f"The plan of {job.called} cannot be written: {error.strerror or error}.",
            remedy="Free some space, or choose another place with -o.",
        )
    except MemoryError:
        return Failed(
            unavailable=False,
            problem=f"There is not enough memory to build {job.called}.",
            remedy="Close other programs, or build for smaller batches (--batch).",
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Engines side by side, as :func:`edgecnn.bench.tune.tune` measures them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from edgecnn.artifact import Artifact
from edgecnn.bench.inputs import random_batch
from edgecnn.bench.tune import Configuration
from edgecnn.engines import Engine, EngineInfo
from edgecnn.engines.choice import EngineChoice, open_choice
from edgecnn.timing.clock import SYSTEM_CLOCK, Clock
from edgecnn.timing.scenarios import Offline, offline_slice

__all__ = ["Instances", "open_instances"]

#: Threads of the engine that ran before may still wait busily for so long (ONNX Runtime's do).
_LEAD_IN_S = 0.04

_SLICE_S = 0.1

#: Calls that a slice has room for, so that its end weighs little.
_CALLS = 4


@dataclass(frozen=True, slots=True)
class Instances:
    """Open engines for some configurations.

    Attributes:
        slices: measures each configuration.
        infos: what runs, by the number of threads asked for.
    """

    slices: dict[Configuration, Callable[[], Offline]]
    infos: dict[int, EngineInfo]


@contextmanager
def open_instances(
    choice: EngineChoice,
    artifact: Artifact,
    configurations: Sequence[Configuration],
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[Instances]:
    """Open as many engines as the configurations need, and run every size once, until the block ends.

    Configurations of the same number of threads share their engines: all are open at the same time, since
    their turns come again and again.

    Raises:
        EngineUnavailableError: the engine cannot open on this machine.
        EngineError: the artifact does not open in it, or does not run.
    """
    counts = sorted({each.threads for each in configurations})
    with ExitStack() as stack:
        engines: dict[int, list[Engine]] = {}
        for threads in counts:
            wanted = choice.with_threads(threads) if threads else choice
            most = max(each.instances for each in configurations if each.threads == threads)
            engines[threads] = [stack.enter_context(open_choice(wanted, artifact)) for _ in range(most)]
        yield Instances(
            {each: _slice(engines[each.threads][: each.instances], each, clock) for each in configurations},
            {threads: opened[0].info for threads, opened in engines.items()},
        )


def _slice(engines: Sequence[Engine], configuration: Configuration, clock: Clock) -> Callable[[], Offline]:
    images = random_batch(engines[0].spec, configuration.batch, seed=0)
    runs = [partial(engine.run, images) for engine in engines]
    for run in runs:
        run()
    (call_ns,) = offline_slice(runs[:1], 0, clock).latencies_ns
    seconds = max(_SLICE_S, _CALLS * float(call_ns) * 1e-9)

    def measure() -> Offline:
        offline_slice(runs, _LEAD_IN_S, clock)
        return offline_slice(runs, seconds, clock)

    return measure

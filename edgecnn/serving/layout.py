"""How a model is laid out on a machine: instances, threads and batches; measured once, then remembered.

On a CPU, batches often cost throughput; on a GPU they are everything. So the cost of a call is measured for
each size with all instances busy, and only batches that pay are formed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np

from edgecnn.artifact import Artifact
from edgecnn.atomic import replacing
from edgecnn.bench.instances import open_instances
from edgecnn.bench.tune import Configuration, Measured, TuneSettings, tune
from edgecnn.cache import cache_folder
from edgecnn.engines import EngineInfo, engine_type
from edgecnn.engines.choice import EngineChoice, parse_choice
from edgecnn.environment import describe_environment, usable_cores
from edgecnn.errors import UsageError
from edgecnn.serving.batch_sizes import BatchSizes, worthwhile_sizes
from edgecnn.serving_config import ModelSettings

__all__ = ["Layout", "find_layout"]

#: What is tried on a CPU and on an accelerator, when the user names no largest batch.
_CPU_BATCHES = (1, 2, 4, 8)
_GPU_BATCHES = (1, 2, 4, 8, 16, 32)

#: A batch whose call would take longer is not tried: whoever comes next would wait for it.
_LONGEST_CALL_MS = 100.0

#: A call of one image that is shorter is made on the event loop: it keeps nobody waiting, and handing it to a
#: thread and back costs as much CPU (0.1 to 0.2 ms: two wake-ups, and caches filled on another core).
_INLINE_MS = 0.15

#: What several threads on one call must gain over as many engines of one thread.
_THREADS_GAIN = 1.25

#: For each of the two questions, about: which instances, and which batches.
_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What runs a model.

    Attributes:
        engine: with its options, the threads among them.
        instances: engines side by side.
        threads: of each; None leaves them to the engine.
        inline: the one instance runs on the event loop itself, since its calls are shorter than handing them
            to a thread.
        sizes: of batches that may be formed, ascending.
        call_ms: median time of a call by its batch, all instances busy; empty where nothing was measured.
        images_per_s: of all instances together by batch; likewise.
    """

    engine: str
    instances: int = 1
    threads: int | None = None
    inline: bool = False
    sizes: tuple[int, ...] = (1,)
    call_ms: dict[int, float] = field(default_factory=dict)
    images_per_s: dict[int, float] = field(default_factory=dict)

    @property
    def batch_sizes(self) -> BatchSizes:
        """``sizes``, with what can be asked of them."""
        return BatchSizes(self.sizes)


def find_layout(
    artifact: Artifact,
    settings: ModelSettings,
    cores: int | None = None,
    observe: Callable[[str], None] = lambda _: None,
) -> Layout:
    """The layout of a model: as the user says, as it was measured before, or measured now.

    Args:
        artifact: of the model.
        settings: what the user says; what is None is to be found.
        cores: that the model may use; all usable ones if None.
        observe: told in a sentence when something is to be measured.

    Raises:
        UsageError: the settings do not fit the model, or the engine has no such option.
        EngineUnavailableError: the engine cannot open on this machine.
        EngineError: the model does not run in it.
    """
    if settings.call_ms and settings.sha256 != artifact.sha256():
        observe(f"{settings.path} is another file than the one that was tuned: its figures are not used.")
        settings = replace(
            settings, instances=None, threads=None, max_batch=None, call_ms={}, images_per_s={}
        )
    choice = parse_choice(settings.engine)
    fixed = _fixed_batch(artifact, choice)
    if settings.call_ms:
        return _told(choice, settings, fixed, worthwhile_sizes(_within(settings.call_ms, settings.max_batch)))
    if fixed is not None or settings.max_batch is not None:
        sizes = (fixed,) if fixed is not None else _up_to(settings.max_batch or 1)
        if settings.instances is not None or fixed is not None:
            return _told(choice, settings, fixed, BatchSizes(sizes))
    info = engine_type(choice.name).check()
    cores = cores or usable_cores()
    path = _remembered(artifact, settings, info, cores)
    if found := _read(path):
        return found
    observe(f"{settings.path}: measuring which instances, threads and batches pay here, once for all.")
    layout = _measured(artifact, choice, settings, info, cores)
    _write(path, layout)
    return layout


def _fixed_batch(artifact: Artifact, choice: EngineChoice) -> int | None:
    own = artifact.spec.input.shape[0]
    return own if isinstance(own, int) else choice.options.batch


def _told(choice: EngineChoice, settings: ModelSettings, fixed: int | None, sizes: BatchSizes) -> Layout:
    if fixed is not None and settings.max_batch not in (None, fixed):
        raise UsageError(
            f"{settings.path} is fixed to a batch of {fixed}, and --max-batch asks for {settings.max_batch}.",
            "Export it with --batch dynamic, or leave --max-batch out.",
        )
    return Layout(
        engine=_with_threads(choice, settings.threads).text,
        instances=settings.instances or 1,
        threads=settings.threads or choice.options.threads,
        sizes=(fixed,) if fixed is not None else sizes.sizes,
        call_ms=settings.call_ms,
        images_per_s=settings.images_per_s,
    )


def _measured(
    artifact: Artifact, choice: EngineChoice, settings: ModelSettings, info: EngineInfo, cores: int
) -> Layout:
    """First which instances, one image a call; then which batches with these."""
    pairs = _pairs(choice, settings, info, cores)
    best = _best(
        artifact, choice, [Configuration(batch=1, instances=count, threads=each) for count, each in pairs]
    )
    if inline := _inline(choice, settings, best):
        return inline
    first = _preferred(best)
    one = first.configuration
    batches = _batches(settings, info, first)
    curve = [first]
    if len(batches) > 1:
        curve = _best(artifact, choice, [replace(one, batch=batch) for batch in batches])
    call_ms = {each.configuration.batch: round(each.latency_ms.median, 4) for each in curve}
    rates = {each.configuration.batch: round(float(np.median(each.images_per_s)), 2) for each in curve}
    sizes = BatchSizes(batches) if settings.max_batch is not None else worthwhile_sizes(call_ms)
    threads = one.threads or None
    return Layout(
        engine=_with_threads(choice, threads).text,
        instances=one.instances,
        threads=threads or choice.options.threads,
        sizes=sizes.sizes,
        call_ms=dict(sorted(call_ms.items())),
        images_per_s=dict(sorted(rates.items())),
    )


def _preferred(measured: Sequence[Measured]) -> Measured:
    """The best, unless engines of one thread come near it.

    Threads that work on one call wait for each other. While the server reads and answers requests, one of
    them is always late: what was measured without requests is not had with them.
    """
    single = next((each for each in measured if each.configuration.threads == 1), measured[0])
    rates = [float(np.median(each.images_per_s)) for each in (measured[0], single)]
    return measured[0] if rates[0] > _THREADS_GAIN * rates[1] else single


def _inline(choice: EngineChoice, settings: ModelSettings, measured: Sequence[Measured]) -> Layout | None:
    """The layout of a model whose calls are shorter than handing them to a thread; None for others."""
    if settings.instances is not None or settings.max_batch is not None or settings.max_delay_ms:
        return None
    single = next((each for each in measured if each.configuration.threads == 1), None)
    if single is None or single.latency_ms.median >= _INLINE_MS:
        return None
    call_ms = round(single.latency_ms.median, 4)
    return Layout(
        engine=choice.with_threads(1).text,
        threads=1,
        inline=True,
        call_ms={1: call_ms},
        images_per_s={1: round(1e3 / call_ms, 2)},
    )


def _best(
    artifact: Artifact, choice: EngineChoice, configurations: Sequence[Configuration]
) -> list[Measured]:
    """All of them measured, the best first."""
    with open_instances(choice, artifact, configurations) as instances:
        return list(tune(instances.slices, TuneSettings(objective="throughput", seconds=_SECONDS)).measured)


def _pairs(
    choice: EngineChoice, settings: ModelSettings, info: EngineInfo, cores: int
) -> list[tuple[int, int]]:
    """(instances, threads of each) to try; 0 threads leaves them to the engine."""
    threads = settings.threads or choice.options.threads
    if threads is not None:
        counts = [threads]
    elif info.device != "cpu" or "threads" not in engine_type(choice.name).understands:
        return [(count, 0) for count in ((settings.instances,) if settings.instances else (1, 2))]
    elif settings.instances is not None:
        counts = [max(1, cores // settings.instances)]
    else:
        counts = [1 << power for power in range(cores.bit_length()) if 1 << power <= cores]
    return [(settings.instances or max(1, cores // count), count) for count in counts]


def _batches(settings: ModelSettings, info: EngineInfo, single: Measured) -> tuple[int, ...]:
    if settings.max_batch is not None:
        return _up_to(settings.max_batch)
    tried = _CPU_BATCHES if info.device == "cpu" else _GPU_BATCHES
    call_ms = single.latency_ms.median
    return tuple(batch for batch in tried if batch == 1 or batch * call_ms <= _LONGEST_CALL_MS)


def _up_to(largest: int) -> tuple[int, ...]:
    """Powers of two, and the largest."""
    return tuple(
        sorted({1 << power for power in range(largest.bit_length()) if 1 << power <= largest} | {largest})
    )


def _within(call_ms: dict[int, float], largest: int | None) -> dict[int, float]:
    kept = {batch: ms for batch, ms in call_ms.items() if largest is None or batch <= largest}
    return kept or call_ms


def _with_threads(choice: EngineChoice, threads: int | None) -> EngineChoice:
    return choice if threads is None else choice.with_threads(threads)


def _remembered(artifact: Artifact, settings: ModelSettings, info: EngineInfo, cores: int) -> Path:
    """Where the layout of this file, asked for like this, on this machine, is kept."""
    machine = describe_environment()
    asked = (settings.engine, settings.instances, settings.threads, settings.max_batch, settings.max_delay_ms)
    here = (machine.cpu, cores, machine.gpu, info.name, info.version, info.device)
    digest = hashlib.sha256(msgspec.json.encode((artifact.sha256(), asked, here))).hexdigest()
    return cache_folder("layouts") / f"{digest[:32]}.json"


def _read(path: Path) -> Layout | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Layout, strict=False)
    except (OSError, msgspec.DecodeError):
        return None


def _write(path: Path, layout: Layout) -> None:
    """Keep it for the next start; where that cannot be, it is measured again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(msgspec.json.encode(layout))
    except OSError:
        return

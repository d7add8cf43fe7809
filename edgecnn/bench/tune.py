"""Which number of instances, threads and images per call suits a machine: measured, not guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecnn.timing.clock import SYSTEM_CLOCK, Clock
from edgecnn.timing.percentiles import LatencySummary, summarise
from edgecnn.timing.ratio import RoundRatio, compare_rounds
from edgecnn.timing.rounds import RoundSettings, interleave
from edgecnn.timing.scenarios import Offline

__all__ = [
    "Configuration",
    "Measured",
    "Objective",
    "TuneSettings",
    "Tuning",
    "configurations",
    "tune",
]

Objective = Literal["latency", "throughput"]

#: All configurations take part in so many rounds, and in this share of the time; then the hopeless leave.
_FIRST_ROUNDS = 4
_FIRST_SHARE = 0.4

#: Hopeless is what is worse than the best by this factor in every one of the first rounds: chance alone, to
#: which either may be the better one, hardly does that four times.
_HOPELESS = 1.15

#: An interval of a median needs six rounds.
_LEAST_ROUNDS = 6


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Configuration:
    """One way to run a model; the smaller one is the simpler one.

    Attributes:
        batch: images per call.
        instances: engines side by side, each in a thread of its own.
        threads: of each engine; 0 leaves them to it.
    """

    batch: int
    instances: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSettings:
    """What is looked for, and for how long.

    Attributes:
        objective: "latency": the fastest call; "throughput": the most images per second.
        seconds: for all configurations together, about.
        max_latency_ms: what the 95th percentile of a call may take; None for no limit.
    """

    objective: Objective = "throughput"
    seconds: float = 30.0
    max_latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One configuration, all of its instances busy.

    Attributes:
        configuration: which.
        slices: one a round.
    """

    configuration: Configuration
    slices: tuple[Offline, ...]

    @property
    def images_per_s(self) -> NDArray[np.float64]:
        """(rounds,) of all instances together."""
        return np.array([each.calls_per_s for each in self.slices]) * self.configuration.batch

    @property
    def latency_ms(self) -> LatencySummary:
        """Of one call."""
        return summarise(1e-6 * np.concatenate([each.latencies_ns for each in self.slices]))

    @property
    def p95_ms(self) -> float:
        """What 95 % of the calls keep to; the longest call where they are too few to say."""
        summary = self.latency_ms
        value = summary.percentiles[0.95].value
        return summary.quantiles[-1] if value is None else value

    def cost(self, objective: Objective) -> NDArray[np.float64]:
        """(rounds,) what is to be small: seconds per image, or the median of a call in nanoseconds."""
        if objective == "throughput":
            return 1 / self.images_per_s
        return np.array([float(np.median(each.latencies_ns)) for each in self.slices])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What was found.

    Attributes:
        measured: all configurations, first those in question (within the limit), best first among them.
        best: the one to take, the first of ``measured``; None when none keeps to the limit.
        runner_up: the next best; None when there is none.
        ratio: cost of the runner-up over that of the best, in common rounds; below 1 the runner-up has the
            better figure, and as it cannot be told apart the simpler one is the best. None for too few
            rounds.
    """

    measured: tuple[Measured, ...]
    best: Measured | None
    runner_up: Measured | None
    ratio: RoundRatio | None

    def cost_curve(self) -> tuple[Measured, ...]:
        """The configurations with the instances and threads of the best, by batch."""
        if self.best is None:
            return ()
        wanted = (self.best.configuration.instances, self.best.configuration.threads)
        curve = [
            each
            for each in self.measured
            if (each.configuration.instances, each.configuration.threads) == wanted
        ]
        return tuple(sorted(curve, key=lambda each: each.configuration.batch))


def configurations(
    cores: int, batches: Sequence[int], objective: Objective, threads: Sequence[int] | None = None
) -> tuple[Configuration, ...]:
    """What is worth trying on so many cores, the simplest first.

    Threads in powers of two, and all cores. For each of these one instance and, for throughput, as many as
    the cores hold; what lies between uses neither few nor all of them. For latency others beside the one that
    is looked at could only slow it down.

    Args:
        cores: usable ones, at least 1.
        batches: images per call.
        objective: what is looked for.
        threads: the only numbers to try, if given; 0 leaves them to the engine, which then has two
            instances at the most.
    """
    powers = {1 << power for power in range(cores.bit_length()) if 1 << power <= cores}
    tried = sorted(powers | {cores}) if threads is None else threads
    pairs = {(1, count) for count in tried}
    if objective == "throughput":
        pairs |= {(max(1, cores // count) if count else 2, count) for count in tried}
    return tuple(
        sorted(
            Configuration(batch=batch, instances=instances, threads=count)
            for instances, count in pairs
            for batch in set(batches)
        )
    )


def tune(
    slices: Mapping[Configuration, Callable[[], Offline]],
    settings: TuneSettings,
    clock: Clock = SYSTEM_CLOCK,
    observe: Callable[[float], None] = lambda _: None,
) -> Tuning:
    """Measure all configurations in turns, drop the hopeless, go on with the others, and choose.

    Args:
        slices: measures a slice of a configuration, of a length of its own choice; at least one.
        settings: what is looked for, and for how long.
        clock: to measure the time by.
        observe: told what share of the time has passed, 0 to 1.
    """
    first = _rounds(
        slices,
        RoundSettings(seconds=_FIRST_SHARE * settings.seconds, least=_FIRST_ROUNDS),
        clock,
        lambda share: observe(_FIRST_SHARE * share),
    )
    hopeful = [each.configuration for each in _hopeful(list(first.values()), settings)]
    second = _rounds(
        {configuration: slices[configuration] for configuration in hopeful},
        RoundSettings(
            seconds=(1 - _FIRST_SHARE) * settings.seconds, least=_LEAST_ROUNDS - _FIRST_ROUNDS, seed=1
        ),
        clock,
        lambda share: observe(_FIRST_SHARE + (1 - _FIRST_SHARE) * share),
    )
    longer = {
        configuration: Measured(configuration, first[configuration].slices + second[configuration].slices)
        for configuration in second
    }
    return choose(tuple({**first, **longer}.values()), settings)


def choose(measured: Sequence[Measured], settings: TuneSettings) -> Tuning:
    """The best of ``measured`` within the limit: of those that cannot be told from it, the simplest."""
    able = [each for each in _candidates(measured, settings) if _keeps(each, settings)]
    others = _by_figure([each for each in measured if all(each is not one for one in able)], settings)
    if not able:
        return Tuning(measured=tuple(others), best=None, runner_up=None, ratio=None)
    ranked = _by_figure(able, settings)
    equal = [each for each in ranked if _not_worse(each, ranked[0], settings)]
    best = min(equal, key=lambda each: each.configuration)
    ranked = [each for each in ranked if each is not best]
    follower = ranked[0] if ranked else None
    return Tuning(
        measured=(best, *ranked, *others),
        best=best,
        runner_up=follower,
        ratio=None if follower is None else _compare(follower, best, settings),
    )


def _rounds(
    slices: Mapping[Configuration, Callable[[], Offline]],
    settings: RoundSettings,
    clock: Clock,
    observe: Callable[[float], None],
) -> dict[Configuration, Measured]:
    found = interleave(list(slices.values()), settings, clock, observe)
    return {
        configuration: Measured(configuration, tuple(rounds))
        for configuration, rounds in zip(slices, found, strict=True)
    }


def _hopeful(measured: Sequence[Measured], settings: TuneSettings) -> list[Measured]:
    """Those that may still turn out the best, and two at least, so that the best is compared with another.

    When none comes near the limit, the one nearest to it.
    """
    limit, objective = settings.max_latency_ms, settings.objective
    candidates = _candidates(measured, settings)
    near = [each for each in candidates if limit is None or each.latency_ms.median <= _HOPELESS * limit]
    if not near:
        return [min(candidates, key=lambda each: each.p95_ms)]
    # What keeps to the limit is the measure; it may not exist.
    able = [each for each in near if _keeps(each, settings)]
    bar = _HOPELESS * _by_figure(able or near, settings)[0].cost(objective)
    kept = [each for each in near if (each.cost(objective) <= bar).any()]
    return kept if len(kept) > 1 else _by_figure(near, settings)[:2]


def _candidates(measured: Sequence[Measured], settings: TuneSettings) -> list[Measured]:
    """For latency only the smallest batch is in question; the others are there for the cost curve."""
    least = min(each.configuration.batch for each in measured)
    any_batch = settings.objective == "throughput"
    return [each for each in measured if any_batch or each.configuration.batch == least]


def _by_figure(measured: Sequence[Measured], settings: TuneSettings) -> list[Measured]:
    return sorted(measured, key=lambda each: _typical(each, settings))


def _keeps(each: Measured, settings: TuneSettings) -> bool:
    return settings.max_latency_ms is None or each.p95_ms <= settings.max_latency_ms


def _typical(each: Measured, settings: TuneSettings) -> float:
    return float(np.median(each.cost(settings.objective)))


def _compare(one: Measured, other: Measured, settings: TuneSettings) -> RoundRatio | None:
    """Cost of one over the other; None where they have too few rounds in common."""
    costs = one.cost(settings.objective), other.cost(settings.objective)
    common = min(map(len, costs))
    return compare_rounds(costs[0][:common], costs[1][:common])


def _not_worse(each: Measured, top: Measured, settings: TuneSettings) -> bool:
    if each is top:
        return True
    if len(each.slices) < len(top.slices):
        return False  # it left as hopeless
    ratio = _compare(each, top, settings)
    return ratio is None or ratio.verdict != "distinct"

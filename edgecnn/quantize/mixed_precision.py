"""Which nodes to leave in float: sensitivity says what it would bring, measured latency what it costs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.quantize.fidelity import Fidelity, fidelity
from edgecnn.quantize.goal import MIN_AGREEMENT, Drop, Goal, drop_between
from edgecnn.quantize.sessions import Images, Session
from edgecnn.quantize.sites import Site
from edgecnn.timing.order_statistics import Interval
from edgecnn.timing.ratio import SAME
from edgecnn.timing.speed import compare_speed

__all__ = ["Judge", "MixedPoint", "RelativeLatency", "chosen_point", "search_mixed_precision", "why_chosen"]

Build = Callable[[Collection[str]], onnx.ModelProto]
Observe = Callable[[str], None]

#: Seconds for one comparison of latencies; up to three times as many where a decision hangs on it.
_SECONDS = 1.2

#: What is slower by less counts as equal.
_SAME = 1 + SAME

#: Percent of the images; agreements that differ by less count as equal.
_SAME_AGREEMENT = 1.0

#: A branch goes to float for its speed only if it is faster by so much: less is noise.
_FASTER = 1.02

#: Share of the latency that every site costs at least: what is not measured must not weigh infinitely.
_LEAST_COST = 0.005

#: A step that lowers the noise by less than this share is not worth any latency.
_WORTHWHILE = 0.97


@dataclass(frozen=True, slots=True)
class RelativeLatency:
    """Of one model over another, both measured in alternation.

    Attributes:
        ratio: median; below 1, the one is faster.
        ci95: its 95 % interval.
    """

    ratio: float = 1.0
    ci95: Interval = (1.0, 1.0)

    @property
    def at_least(self) -> float:
        """What it surely does not fall below."""
        return self.ci95[0]

    @property
    def at_most(self) -> float:
        """What it surely does not exceed; noise raises it, and never makes a model seem fast."""
        return self.ci95[1]


@dataclass(frozen=True, slots=True)
class MixedPoint:
    """One tried mixed precision.

    Attributes:
        label: what is in float, in words.
        kept_float: names of the nodes in float.
        fidelity: to the float model on held-out images.
        drop: of top-1 on them.
        relative_latency: latency over that of the point with the least in float, measured in alternation.
        latency_ci95: its 95 % interval.
        met: whether it meets the goal.
    """

    label: str
    kept_float: tuple[str, ...]
    fidelity: Fidelity
    drop: Drop
    relative_latency: float
    latency_ci95: Interval
    met: bool

    @property
    def latency(self) -> RelativeLatency:
        """Both figures of it."""
        return RelativeLatency(self.relative_latency, self.latency_ci95)

    def with_latency(self, latency: RelativeLatency) -> MixedPoint:
        """It, with its latency as measured."""
        return replace(self, relative_latency=latency.ratio, latency_ci95=latency.ci95)


@dataclass(frozen=True, slots=True)
class Judge:
    """What a model is judged by.

    Attributes:
        images: held out.
        labels: (N,) class indices.
        reference: (N, classes) scores of the float model.
        margins: of the float model's choices, on these images and others.
        goal: what to reach.
        threads: for accuracy; latency is measured on one.
    """

    images: Images
    labels: NDArray[np.int64]
    reference: NDArray[np.float32]
    margins: NDArray[np.float64]
    goal: Goal
    threads: int

    def point(self, label: str, kept: Collection[str], model: onnx.ModelProto) -> MixedPoint:
        """The point that ``model`` is, as fast as the one that latencies are relative to."""
        scores = Session(model, threads=self.threads).scores(self.images)
        drop, found = drop_between(self.reference, scores, self.labels), self.fidelity(scores)
        met = self.goal.met(drop, found.agreement)
        same = RelativeLatency()
        return MixedPoint(label, tuple(sorted(kept)), found, drop, same.ratio, same.ci95, met)

    def fidelity(self, scores: NDArray[np.float32]) -> Fidelity:
        """Of ``scores`` (N, classes) of the held-out images."""
        return fidelity(self.reference, scores, self.margins)

    def latency_over(
        self, model: onnx.ModelProto, base: onnx.ModelProto, tell_from: float | None = None
    ) -> RelativeLatency:
        """Latency of ``model`` over that of ``base``, for one image on one thread.

        Args:
            model: the one.
            base: the other.
            tell_from: a ratio that decides something, as :func:`compare_speed` takes it.
        """
        image = self.images[:1]
        sessions = [Session(each, threads=1) for each in (model, base)]
        found = compare_speed(
            lambda: sessions[0].run(image),
            lambda: sessions[1].run(image),
            seconds=_SECONDS,
            tell_from=tell_from,
        )
        return RelativeLatency(found.ratio, found.ci95)


def chosen_point(points: Sequence[MixedPoint]) -> MixedPoint:
    """The fastest that meets the goal; where none does, the fastest of those that agree most.

    Agreement with the float model within one percent counts as the same, and so does latency within two: the
    images and the clock cannot tell. A point is as fast as it surely is: a latency counts by the upper end of
    its interval. Of equally fast ones the one with the least noise is taken.
    """
    highest = max(point.fidelity.agreement for point in points)
    good = [point for point in points if point.met]
    good = good or [point for point in points if point.fidelity.agreement >= highest - _SAME_AGREEMENT]
    fastest = min(point.latency.at_most for point in good)
    equal = [point for point in good if point.latency.at_most <= _SAME * fastest]
    return min(equal, key=lambda point: point.fidelity.noise)


def why_chosen(point: MixedPoint) -> str:
    """The rule by which :func:`chosen_point` took ``point``, in a sentence."""
    goal = f"--max-drop, as far as the images tell, with {MIN_AGREEMENT:g} % agreement"
    if point.met:
        rule = f"It is the fastest of those within {goal}"
    else:
        most = f"those that agree most, give or take {_SAME_AGREEMENT:g} %"
        rule = f"None is within {goal}: it is the fastest of {most}"
    return f"{rule}; of such within {100 * SAME:g} % of the fastest, the nearest to the float model."


def search_mixed_precision(
    build: Build, judge: Judge, branches: Site, sites: Sequence[Site], observe: Observe
) -> list[MixedPoint]:
    """Points from all-int8 on, each with more in float, until one meets the goal and no more is for free.

    First the squeeze-excite branches, if float is surely faster for them. Then every site is tried alone: how
    much noise it takes away, and what it costs. They are added in the order of noise per latency, and each
    sum is measured anew, since neither noise nor latency adds up exactly. Once the goal is met, only what
    surely costs nothing is added: float at both ends of a network is often as fast as int8, and then nearer.

    Args:
        build: makes the int8 model, given the names of the nodes to leave in float.
        judge: measures.
        branches: candidates for speed.
        sites: candidates for accuracy, the most sensitive first.
        observe: told what was found, a line at a time.

    Returns:
        The points, in the order of their search.
    """
    base, kept = build(()), frozenset[str]()
    if branches.nodes:
        candidate = build(branches.nodes)
        if judge.latency_over(base, candidate, _FASTER).ci95[0] > _FASTER:
            observe("Leaving the squeeze-excite branches in float: they are faster so")
            base, kept = candidate, branches.nodes
    points = [judge.point("squeeze-excite in float" if kept else "all in int8", kept, base)]
    for site in _by_worth(build, judge, base, kept, sites, points[0].fidelity.noise):
        trial = kept | site.nodes
        if trial == kept:
            continue
        model = build(trial)
        point = judge.point(f"+ {site.name}", trial, model)
        if point.fidelity.noise > _WORTHWHILE * points[-1].fidelity.noise:
            continue
        free = _SAME * points[-1].relative_latency
        latency = judge.latency_over(model, base, free if points[-1].met else None)
        if points[-1].met and latency.at_most > free:
            continue
        point = point.with_latency(latency)
        kept = trial
        observe(
            f"Float for {site.name}: SQNR {point.fidelity.sqnr_db:.1f} dB, agreement "
            f"{point.fidelity.agreement:.1f} %, latency x {point.relative_latency:.2f}"
        )
        points.append(point)
    return points


def _by_worth(
    build: Build,
    judge: Judge,
    base: onnx.ModelProto,
    kept: frozenset[str],
    sites: Sequence[Site],
    noise: float,
) -> list[Site]:
    """The sites that lower the noise, the most noise per latency first."""
    worth: list[tuple[float, Site]] = []
    for site in sites:
        model = build(kept | site.nodes)
        scores = Session(model, threads=judge.threads).scores(judge.images)
        gain = noise - judge.fidelity(scores).noise
        if gain > 0:
            cost = max(judge.latency_over(model, base).at_most - 1, _LEAST_COST)
            worth.append((gain / cost, site))
    return [site for _, site in sorted(worth, key=lambda item: -item[0])]

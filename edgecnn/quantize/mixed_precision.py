"""Which nodes to leave in float: sensitivity says what it would bring, measured latency what it costs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.quantize.fidelity import Fidelity, fidelity
from edgecnn.quantize.goal import Drop, Goal, drop_between
from edgecnn.quantize.sessions import Images, Session
from edgecnn.quantize.sites import Site
from edgecnn.timing.speed import compare_speed

__all__ = ["Judge", "MixedPoint", "chosen_point", "search_mixed_precision"]

Build = Callable[[Collection[str]], onnx.ModelProto]
Observe = Callable[[str], None]

#: Seconds for one comparison of latencies.
_SECONDS = 1.2

#: Latencies that differ by less count as equal: the measurement does not tell them apart.
_SAME = 1.01

#: A branch goes to float for its speed only if it is faster by so much: less is noise.
_FASTER = 1.02

#: A step that lowers the noise by less than this share is not worth any latency.
_WORTHWHILE = 0.97


@dataclass(frozen=True, slots=True)
class MixedPoint:
    """One tried mixed precision.

    Attributes:
        label: what is in float, in words.
        kept_float: names of the nodes in float.
        fidelity: to the float model on held-out images.
        drop: of top-1 on them.
        relative_latency: latency over that of the point with the least in float, measured in alternation.
        met: whether it meets the goal.
    """

    label: str
    kept_float: tuple[str, ...]
    fidelity: Fidelity
    drop: Drop
    relative_latency: float
    met: bool


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

    def point(self, label: str, kept: Collection[str], model: onnx.ModelProto, latency: float) -> MixedPoint:
        """The point that ``model`` is."""
        scores = Session(model, threads=self.threads).scores(self.images)
        drop, found = drop_between(self.reference, scores, self.labels), self.fidelity(scores)
        met = self.goal.met(drop, found.agreement)
        return MixedPoint(label, tuple(sorted(kept)), found, drop, latency, met)

    def fidelity(self, scores: NDArray[np.float32]) -> Fidelity:
        """Of ``scores`` (N, classes) of the held-out images."""
        return fidelity(self.reference, scores, self.margins)

    def latency_over(self, model: onnx.ModelProto, base: onnx.ModelProto) -> float:
        """Latency of ``model`` over that of ``base``, for one image on one thread."""
        image = self.images[:1]
        sessions = [Session(each, threads=1) for each in (model, base)]
        return compare_speed(
            lambda: sessions[0].run(image), lambda: sessions[1].run(image), seconds=_SECONDS
        ).ratio


def chosen_point(points: Sequence[MixedPoint]) -> MixedPoint:
    """The fastest that meets the goal; where none does, the fastest of those that agree most.

    Agreement with the float model within one percent counts as the same, and so does latency: the images and
    the clock cannot tell. Of equally fast ones the one with the least noise is taken.
    """
    highest = max(point.fidelity.agreement for point in points)
    good = [point for point in points if point.met]
    good = good or [point for point in points if point.fidelity.agreement >= highest - 1]
    fastest = min(point.relative_latency for point in good)
    equal = [point for point in good if point.relative_latency <= _SAME * fastest]
    return min(equal, key=lambda point: point.fidelity.noise)


def search_mixed_precision(
    build: Build, judge: Judge, branches: Site, sites: Sequence[Site], observe: Observe
) -> list[MixedPoint]:
    """Points from all-int8 on, each with more in float, until one meets the goal and no more is for free.

    First the squeeze-excite branches, if float is faster for them. Then every site is tried alone: how much
    noise it takes away, and what it costs. They are added in the order of noise per latency, and each sum is
    measured anew, since neither noise nor latency adds up exactly. Once the goal is met, only what costs
    nothing is added: float at both ends of a network is often as fast as int8, and then nearer.

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
        if judge.latency_over(base, candidate) > _FASTER:
            observe("Leaving the squeeze-excite branches in float: they are faster so")
            base, kept = candidate, branches.nodes
    points = [judge.point("squeeze-excite in float" if kept else "all in int8", kept, base, 1.0)]
    for site in _by_worth(build, judge, base, kept, sites, points[0].fidelity.noise):
        trial = kept | site.nodes
        if trial == kept:
            continue
        model = build(trial)
        point = judge.point(f"+ {site.name}", trial, model, judge.latency_over(model, base))
        free = point.relative_latency <= _SAME * points[-1].relative_latency
        if point.fidelity.noise > _WORTHWHILE * points[-1].fidelity.noise or (points[-1].met and not free):
            continue
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
        cost = max(judge.latency_over(model, base) - 1, 0.005)
        if gain > 0:
            worth.append((gain / cost, site))
    return [site for _, site in sorted(worth, key=lambda item: -item[0])]

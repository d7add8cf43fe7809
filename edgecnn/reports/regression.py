"""A gate on results: what got slower, bigger or less accurate than a baseline, beyond noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgecnn.environment import Environment
from edgecnn.reports.accuracy_change import accuracy_change
from edgecnn.reports.limits import MEGABYTE
from edgecnn.reports.matching import matched
from edgecnn.reports.one_line import one_line
from edgecnn.reports.percentiles import Percentile, latency, latency_interval, percentile_text
from edgecnn.reports.result import Interval, Result, ResultFile
from edgecnn.reports.rows import title_of

__all__ = ["BaselineComparison", "Finding", "Kind", "Tolerances", "compare_to_baseline"]

Kind = Literal["slower", "bigger", "less accurate", "vanished", "fails"]

#: The percentiles that the gate looks at: the usual query, and the tail that short runs can still tell.
_PERCENTILES: tuple[Percentile, ...] = ("p50", "p90")

#: What is compared -> what has to be there for it.
_FIGURES: dict[str, Callable[[Result], object]] = {
    "accuracy": lambda one: one.accuracy,
    "latency": lambda one: one.latency_ms,
    "throughput": lambda one: one.throughput_per_s,
    "memory": lambda one: one.memory_bytes and one.memory_bytes.peak,
    "file size": lambda one: one.memory_bytes and one.memory_bytes.file,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """What passes as noise, besides overlapping intervals.

    Attributes:
        speed_percent: of latency and throughput. Two runs of one program on one machine differ by a few
            percent, which their own intervals cannot know.
        memory_percent: of the peak; allocators and the pages of libraries vary.
        memory_mb: of the peak, for small models; whichever is larger counts.
        file_percent: of the file's size; names and metadata vary.
        accuracy_points: of top-1, below the interval.
    """

    speed_percent: float = 5.0
    memory_percent: float = 5.0
    memory_mb: float = 2.0
    file_percent: float = 1.0
    accuracy_points: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that got worse.

    Attributes:
        kind: in what way.
        variant: its title.
        figure: what was compared, such as "latency p50"; "" for what vanished or fails.
        unit: of the values.
        old: in the baseline.
        new: now.
        sentence: all of it in words.
    """

    kind: Kind
    variant: str
    figure: str = ""
    unit: str = ""
    old: float | None = None
    new: float | None = None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineComparison:
    """What the gate found.

    Attributes:
        findings: what got worse; empty where the gate holds.
        notes: what could not be compared, and why.
        compared: how many variants were held against their like: by a figure at least, or since they fail.
        figures: figure -> of how many variants it was compared.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    compared: int
    figures: Mapping[str, int]


def compare_to_baseline(
    old: ResultFile, new: ResultFile, tolerances: Tolerances | None = None
) -> BaselineComparison:
    """What got worse from ``old`` to ``new``.

    Slower: the 95 % intervals do not overlap, and the change is beyond the tolerance. Bigger: the file or the
    peak memory is beyond the tolerance. Less accurate: the interval of the drop excludes zero. Speed and
    memory are compared on the same machine only. What is new, or failed before too, is no finding.
    """
    gate = _Gate(tolerances or Tolerances(), _other_machine(old.environment, new.environment))
    pairs, gone = matched(old.results, new.results)
    findings = [
        Finding(kind="vanished", variant=title_of(one), sentence=f"{title_of(one)}: no longer measured.")
        for one in gone
        if one.error is None
    ]
    sound = [(before, after) for before, after in pairs if before.error is None]
    for before, after in sound:
        findings += gate.findings(before, after)
    notes = [note for note in (gate.machine, *_unmeasured(sound), *_other_images(sound)) if note]
    figures = [gate.compared(before, after) for before, after in sound]
    return BaselineComparison(
        findings=tuple(findings),
        notes=tuple(notes),
        compared=sum(
            bool(names) or after.error is not None for names, (_, after) in zip(figures, sound, strict=True)
        ),
        figures=Counter(name for names in figures for name in names),
    )


@dataclass(frozen=True, slots=True)
class _Gate:
    """What every pair is held against.

    Attributes:
        tolerances: as given.
        machine: why speed and memory are not compared; "" where they are.
    """

    tolerances: Tolerances
    machine: str

    def findings(self, old: Result, new: Result) -> Iterator[Finding]:
        if new.error is not None:
            sentence = f"{title_of(new)}: fails now: {one_line(new.error).rstrip('.')}."
            yield Finding(kind="fails", variant=title_of(new), sentence=sentence)
            return
        yield from self._less_accurate(old, new)
        yield from self._bigger(old, new, "file", "file size", self.tolerances.file_percent, 0.0)
        if not self.machine:
            limits = self.tolerances.memory_percent, self.tolerances.memory_mb
            yield from self._bigger(old, new, "peak", "peak memory", *limits)
            yield from self._slower(old, new)

    def compared(self, old: Result, new: Result) -> list[str]:
        """The figures that both have and that may be compared; none of what fails."""
        if new.error is not None:
            return []
        both = [{name for name, read in _FIGURES.items() if read(one) is not None} for one in (old, new)]
        excluded = {"latency", "throughput", "memory"} if self.machine else set()
        if old.accuracy and new.accuracy and accuracy_change(old.accuracy, new.accuracy) is None:
            excluded.add("accuracy")
        return [name for name in _FIGURES if name in both[0] & both[1] - excluded]

    def _slower(self, old: Result, new: Result) -> Iterator[Finding]:
        factor = 1 + self.tolerances.speed_percent / 100
        for percentile in _PERCENTILES:
            before, after = latency(old, percentile), latency(new, percentile)
            if before is None or after is None or after <= before * factor:
                continue
            if _above(latency_interval(new, percentile), latency_interval(old, percentile)):
                figure = f"latency {percentile_text(percentile)}"
                yield _finding("slower", new, (figure, "ms"), before, after)
        before, after = old.throughput_per_s, new.throughput_per_s
        if (
            before is not None
            and after is not None
            and after * factor < before
            and _above(old.throughput_ci95, new.throughput_ci95)
        ):
            yield _finding("slower", new, ("throughput", "images/s"), before, after)

    def _bigger(
        self, old: Result, new: Result, name: str, figure: str, percent: float, floor_mb: float
    ) -> Iterator[Finding]:
        before: int | None = getattr(old.memory_bytes, name, None)
        after: int | None = getattr(new.memory_bytes, name, None)
        if before is None or after is None:
            return
        if after - before > max(before * percent / 100, floor_mb * MEGABYTE):
            yield _finding("bigger", new, (figure, "MB"), before / MEGABYTE, after / MEGABYTE)

    def _less_accurate(self, old: Result, new: Result) -> Iterator[Finding]:
        if old.accuracy is None or new.accuracy is None:
            return
        change = accuracy_change(old.accuracy, new.accuracy)
        if change is None or change.ci95[0] <= 0 or change.drop <= self.tolerances.accuracy_points:
            return
        low, high = change.ci95
        how = "image by image" if change.paired else "two proportions"
        yield Finding(
            kind="less accurate",
            variant=title_of(new),
            figure="top-1",
            unit="%",
            old=old.accuracy.top1,
            new=new.accuracy.top1,
            sentence=f"{title_of(new)}: top-1 {old.accuracy.top1:.2f} % -> {new.accuracy.top1:.2f} %, "
            f"{change.drop:.2f} points lower (95 % interval {low:.2f} to {high:.2f}, {how}).",
        )


def _above(higher: Interval | None, lower: Interval | None) -> bool:
    """Whether the first lies wholly above the second; without an interval the tolerance alone decides."""
    return higher is None or lower is None or higher[0] > lower[1]


def _finding(kind: Kind, new: Result, figure: tuple[str, str], before: float, after: float) -> Finding:
    name, unit = figure
    change = f"{100 * (after / before - 1):+.1f} %" if before else "from nothing"
    return Finding(
        kind=kind,
        variant=title_of(new),
        figure=name,
        unit=unit,
        old=before,
        new=after,
        sentence=f"{title_of(new)}: {name} {before:.4g} {unit} -> {after:.4g} {unit} ({change}).",
    )


def _other_machine(old: Environment, new: Environment) -> str:
    """Why speed and memory cannot be compared; "" where they can."""
    facts = [("CPU", old.cpu, new.cpu), ("cores", old.cores, new.cores), ("GPU", old.gpu, new.gpu)]
    changed = [f"{name} {before} -> {after}" for name, before, after in facts if before != after]
    if not changed:
        return ""
    return f"Measured on another machine ({', '.join(changed)}): speed and memory are not compared."


def _unmeasured(pairs: Sequence[tuple[Result, Result]]) -> Iterator[str]:
    """What the baseline has and the new file lacks: a gate that is silently never reached is none."""
    for name, read in _FIGURES.items():
        lacking = [
            title_of(new)
            for old, new in pairs
            if new.error is None and read(old) is not None and read(new) is None
        ]
        if lacking:
            yield f"The baseline has the {name} of {_listed(lacking)}, and now it was not measured."


def _other_images(pairs: Sequence[tuple[Result, Result]]) -> Iterator[str]:
    changed = [
        title_of(new)
        for old, new in pairs
        if old.accuracy and new.accuracy and accuracy_change(old.accuracy, new.accuracy) is None
    ]
    if changed:
        yield f"The accuracy of {_listed(changed)} is of other images than the baseline's: not compared."


def _listed(titles: Sequence[str]) -> str:
    return titles[0] if len(titles) == 1 else f"{titles[0]} and {len(titles) - 1} more"

"""What to measure, and how: checked before anything is opened."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from edgecnn.artifact import Artifact
from edgecnn.engines.choice import EngineChoice
from edgecnn.environment import usable_cores
from edgecnn.errors import UsageError
from edgecnn.timing.scenarios import MULTI_STREAM_SAMPLES, ScenarioName

__all__ = ["BenchPlan", "Driver", "PlannedVariant"]

Driver = Literal["built-in", "loadgen"]


@dataclass(frozen=True, slots=True)
class PlannedVariant:
    """One artifact in one engine with one batch size.

    Attributes:
        artifact: what runs.
        choice: what runs it, the number of threads included where that is stated.
        batch: images of one call.
    """

    artifact: Artifact
    choice: EngineChoice
    batch: int

    @property
    def own_batch(self) -> int | None:
        """The batch that the artifact is fixed to; None where that is dynamic."""
        size = self.artifact.spec.input.shape[0]
        return size if isinstance(size, int) else None

    @property
    def words(self) -> frozenset[str]:
        """What it can be called by."""
        spec, path = self.artifact.spec, self.artifact.path
        threads = self.choice.options.threads
        return frozenset(
            {
                *(spec.network, spec.precision, str(path), path.name, path.stem),
                *(self.choice.text, self.choice.name, f"batch={self.batch}"),
                *(() if threads is None else (f"threads={threads}",)),
            }
        )

    def __str__(self) -> str:
        return f"{self.artifact.path.name} {self.choice.text} batch={self.batch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """Every model in every engine, with every number of threads and every batch size.

    Attributes:
        models: artifacts, each of which runs in each of ``engines``.
        engines: what runs them.
        pairs: further artifacts, each with what runs it alone.
        batches: images of one call; empty for 1, or what a model is fixed to.
        threads: that work on one call; empty for what the engine's options say, else the cores shared among
            the instances.
        scenario: of MLPerf Inference.
        driver: what makes the load: this project, or MLCommons LoadGen.
        duration_s: seconds of measuring for each variant, warm-up not counted.
        target_qps: queries a second that arrive; of the server scenario, which needs it.
        latency_bound_ms: what the 99th percentile may be; of the server scenario.
        instances: of the model, side by side; of the offline and the server scenario.
        baseline: words that name the variant to compare with ("resnet50.onnx ort batch=1"); the first that
            all of them fit. None for the first variant.
        logs: folder for LoadGen's logs, which its driver needs.
        memory: whether to measure memory, in processes of their own.
        energy: whether to measure energy where it can be read.
        seed: of inputs, arrivals and the order of the variants.

    Raises:
        UsageError: values that make no sense, or not together.
    """

    models: tuple[Artifact, ...] = ()
    engines: tuple[EngineChoice, ...] = ()
    pairs: tuple[tuple[Artifact, EngineChoice], ...] = ()
    batches: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    scenario: ScenarioName = "single"
    driver: Driver = "built-in"
    duration_s: float = 5.0
    target_qps: float | None = None
    latency_bound_ms: float | None = None
    instances: int = 1
    baseline: str | None = None
    logs: Path | None = None
    memory: bool = True
    energy: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not self._pairs:
            raise UsageError("There is nothing to measure.", "Name at least one model and one engine.")
        _require_positive("--duration", self.duration_s)
        _require_positive("--qps", self.target_qps)
        _require_positive("--latency-bound-ms", self.latency_bound_ms)
        for name, values in (
            ("--batch", self.batches),
            ("--threads", self.threads),
            ("--instances", (self.instances,)),
        ):
            for value in values:
                _require_positive(name, value)
        self._check_scenario()
        self._check_driver()
        self._check_threads()
        _ = self.baseline_index  # a name that fits nothing is better told now than after the run

    @property
    def variants(self) -> tuple[PlannedVariant, ...]:
        """All combinations, each once, in the order of models, engines, threads and batches."""
        found = (
            PlannedVariant(model, choice, batch)
            for model, engine in self._pairs
            for choice in self._with_threads(engine)
            for batch in self.batches or (_default_batch(model),)
        )
        return tuple(
            {(str(each.artifact.path), each.choice.text, each.batch): each for each in found}.values()
        )

    @property
    def _pairs(self) -> tuple[tuple[Artifact, EngineChoice], ...]:
        return (*product(self.models, self.engines), *self.pairs)

    @property
    def baseline_index(self) -> int:
        """Which of ``variants`` the others are compared with.

        Raises:
            UsageError: no variant fits ``baseline``.
        """
        wanted = set((self.baseline or "").split())
        for index, variant in enumerate(self.variants):
            if wanted <= variant.words:
                return index
        names = "; ".join(str(variant) for variant in self.variants)
        raise UsageError(
            f"No variant fits the baseline {self.baseline!r}.",
            f"Give words that one of these has: {names}. A network, a precision and threads=N will do, too.",
        )

    @property
    def takes_turns(self) -> bool:
        """Whether the variants take turns, so that they can be compared round by round."""
        return self.driver == "built-in" and self.scenario != "server"

    def images_per_query(self, batch: int) -> int:
        """Images that one query asks for."""
        return MULTI_STREAM_SAMPLES if self.scenario == "multi" else batch

    def _with_threads(self, choice: EngineChoice) -> tuple[EngineChoice, ...]:
        if self.threads:
            return tuple(choice.with_threads(count) for count in self.threads)
        if choice.options.threads is None and self.instances > 1:
            return (choice.with_threads(max(1, usable_cores() // self.instances)),)
        return (choice,)

    def _check_scenario(self) -> None:
        server = self.scenario == "server"
        if server and self.target_qps is None:
            raise UsageError(
                "The server scenario sends queries at a rate, and none is given.",
                "Pass --qps, such as half of what '--scenario offline' reaches.",
            )
        if not server and (self.target_qps is not None or self.latency_bound_ms is not None):
            raise UsageError(
                f"--qps and --latency-bound-ms are of the server scenario, and this is {self.scenario!r}.",
                "Pass --scenario server, or leave them out.",
            )
        if self.instances > 1 and self.scenario in {"single", "multi"}:
            raise UsageError(
                f"The scenario {self.scenario!r} sends one query at a time: {self.instances} instances would "
                "have nothing to do.",
                "Pass --scenario offline or server, or leave --instances out.",
            )
        if self.scenario == "multi" and any(MULTI_STREAM_SAMPLES % batch for batch in self.batches):
            raise UsageError(
                f"A query of the multi-stream scenario is {MULTI_STREAM_SAMPLES} images, which calls of "
                f"{' or '.join(map(str, self.batches))} do not make up.",
                "Use a --batch of 1, 2, 4 or 8.",
            )
        if server and any(batch > 1 for batch in self.batches):
            raise UsageError(
                "A query of the server scenario is one image, and nothing here gathers them into batches.",
                "Leave --batch out.",
            )

    def _check_driver(self) -> None:
        if self.driver == "loadgen" and self.logs is None:
            raise UsageError("LoadGen writes logs, and there is no folder for them.", "Pass --logs DIR.")
        if self.driver == "built-in" and self.logs is not None:
            raise UsageError(
                "Only LoadGen writes logs.",
                "Pass --driver loadgen, or leave --logs out; -o keeps the result.",
            )
        if self.driver == "loadgen" and self.baseline is not None:
            raise UsageError(
                "LoadGen measures one variant after the other, so that there is no ratio to a baseline.",
                "Leave --baseline out, or use --driver built-in.",
            )
        if self.scenario == "server" and self.baseline is not None:
            raise UsageError(
                "The server scenario measures one variant after the other, so that there is no ratio to a "
                "baseline.",
                "Leave --baseline out, or use another --scenario.",
            )
        if self.driver == "loadgen" and self.scenario == "single" and any(n > 1 for n in self.batches):
            raise UsageError(
                "A query of LoadGen's single stream is one image.",
                "Leave --batch out, or use --driver built-in.",
            )

    def _check_threads(self) -> None:
        both = [choice.text for _, choice in self._pairs if choice.options.threads is not None]
        if self.threads and both:
            raise UsageError(
                f"--threads and the options of --engine {both[0]} both say how many threads.",
                "Keep one of them.",
            )


def _default_batch(model: Artifact) -> int:
    size = model.spec.input.shape[0]
    return size if isinstance(size, int) else 1


def _require_positive(name: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} is {value:g}.", f"Give {name} a number above zero.")

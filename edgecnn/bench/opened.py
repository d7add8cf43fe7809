"""A variant that is open and has answered once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgecnn.bench.inputs import photograph_batch, random_batch
from edgecnn.bench.plan import BenchPlan, PlannedVariant
from edgecnn.engines import Engine
from edgecnn.engines.choice import EngineChoice, open_choice
from edgecnn.errors import EngineError
from edgecnn.reports.result import Variant
from edgecnn.reports.variant import variant_of
from edgecnn.timing.scenarios import MULTI_STREAM_SAMPLES

__all__ = ["OpenVariant", "open_variant", "opened_choice", "unopened"]


@dataclass(frozen=True, slots=True)
class OpenVariant:
    """A variant that can be measured.

    Attributes:
        planned: what was asked for.
        variant: what really runs.
        engines: open, one for each instance.
        calls: runs of each engine on a batch of random numbers.
        calls_per_query: how many of them answer one query.
    """

    planned: PlannedVariant
    variant: Variant
    engines: tuple[Engine, ...]
    calls: tuple[Callable[[], object], ...]
    calls_per_query: int

    @property
    def batch(self) -> int:
        """Images of one call."""
        return self.planned.batch

    @property
    def images_per_query(self) -> int:
        """Images of one query."""
        return self.batch * self.calls_per_query

    @property
    def queries(self) -> tuple[Callable[[], object], ...]:
        """What answers one query, for each instance."""
        if self.calls_per_query == 1:
            return self.calls
        return tuple(partial(_repeat, call, range(self.calls_per_query)) for call in self.calls)


def open_variant(plan: BenchPlan, planned: PlannedVariant, stack: ExitStack) -> OpenVariant:
    """Open every instance of ``planned``, and see that it answers a photograph with numbers.

    Args:
        plan: scenario, instances and seed.
        planned: of the plan.
        stack: closes the engines.

    Raises:
        EngineUnavailableError: the engine cannot open on this machine.
        EngineError: the artifact does not open in it, its batch is fixed to another size, it fails to run,
            or its scores are no numbers.
    """
    _require_batch(plan, planned)
    choice = opened_choice(planned)
    with ExitStack() as opening:
        engines = tuple(
            opening.enter_context(open_choice(choice, planned.artifact)) for _ in range(plan.instances)
        )
        for engine in engines:
            _require_numbers(engine, planned)
        stack.push(opening.pop_all())
    batch = random_batch(planned.artifact.spec, planned.batch, plan.seed)
    return OpenVariant(
        planned=planned,
        variant=variant_of(planned.artifact, engines[0].info, planned.batch, planned.choice),
        engines=engines,
        calls=tuple(partial(engine.run, batch) for engine in engines),
        calls_per_query=plan.images_per_query(planned.batch) // planned.batch,
    )


def opened_choice(planned: PlannedVariant) -> EngineChoice:
    """What is really opened: an engine that can prepare for one batch size is told which."""
    return planned.choice.preferring(batch=planned.batch)


def unopened(planned: PlannedVariant) -> Variant:
    """What is known of a variant that does not open."""
    artifact = planned.artifact
    return Variant(
        network=artifact.spec.network,
        artifact=str(artifact.path),
        sha256=artifact.sha256(),
        precision=artifact.spec.precision,
        engine=planned.choice.name,
        batch=planned.batch,
        threads=planned.choice.options.threads,
        options=planned.choice.other_options,
    )


def _repeat(call: Callable[[], object], times: range) -> None:
    for _ in times:
        call()


def _require_batch(plan: BenchPlan, planned: PlannedVariant) -> None:
    own, path = planned.own_batch, planned.artifact.path
    again = f"Export it again for any batch: edgecnn export {planned.artifact.spec.network} --batch dynamic"
    if own is not None and own != planned.batch:
        raise EngineError(
            f"{path} is fixed to a batch of {own}, and a batch of {planned.batch} was asked for.",
            f"{again}; or measure it with --batch {own}.",
        )
    if plan.scenario == "multi" and MULTI_STREAM_SAMPLES % planned.batch:
        raise EngineError(
            f"{path} is fixed to a batch of {own}, which does not make up the {MULTI_STREAM_SAMPLES} images "
            "of a multi-stream query.",
            f"{again}.",
        )
    alone = plan.scenario == "server" or (plan.scenario == "single" and plan.driver == "loadgen")
    if alone and planned.batch > 1:
        raise EngineError(
            f"{path} is fixed to a batch of {own}, and a query of this scenario is one image.", f"{again}."
        )


def _require_numbers(engine: Engine, planned: PlannedVariant) -> None:
    """A model that answers NaN may be fast, and of no use."""
    scores = engine.run(photograph_batch(planned.artifact.spec, planned.batch))
    if not np.isfinite(scores).all():
        raise EngineError(
            f"{planned.artifact.path} answers a photograph with NaN or infinity.",
            "See where that comes from: edgecnn validate MODEL --data DATA with another engine, "
            "or export or quantise it again.",
        )

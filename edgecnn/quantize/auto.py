"""The recipe that tries what is known to help, in the order of cost, and keeps what does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.index import GraphIndex
from edgecnn.quantize.bias_correction import correct_biases, weighted_nodes
from edgecnn.quantize.calibration import Calibration, ChannelStatistics, measure_channels
from edgecnn.quantize.equalise import equalise
from edgecnn.quantize.fidelity import Fidelity, margins_of
from edgecnn.quantize.goal import Goal
from edgecnn.quantize.histogram import Histogram
from edgecnn.quantize.mixed_precision import (
    Judge,
    MixedPoint,
    chosen_point,
    search_mixed_precision,
)
from edgecnn.quantize.openvino_choice import choose_for_openvino
from edgecnn.quantize.range_search import Sensitivity, best_method, refine_ranges, sensitivities
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.rounding import RoundedLayer, put_rounded, round_layers
from edgecnn.quantize.sessions import Images, Session
from edgecnn.quantize.simulation import Simulation
from edgecnn.quantize.sites import activation_site, block_sites, excite_branches
from edgecnn.quantize.static_int8 import scheme_text
from edgecnn.quantize.work import Quantised, Work

__all__ = ["quantize_automatically"]

#: A step must lower the noise on held-out images by so much to be kept.
_WORTHWHILE = 0.99

#: Agreement on held-out images that may be lost, in percent, although the scores came nearer: what the
#: estimate of it varies by.
_CHANCE = 1.0

#: How far channels' widths are moved from activations to weights, in turn; see ``equalise``.
_MIGRATIONS = (0.5, 0.75)

#: So many of the most sensitive activations get a range of their own.
_REFINED = 16

#: So many activations, and so many blocks, are candidates for float.
_SITES = 6

#: So many images tell the activations apart by their sensitivity.
_RANKING_IMAGES = 8


@dataclass(frozen=True, slots=True)
class _Parts:
    """What an int8 model is made of.

    Attributes:
        model: float, with channels as equalised so far.
        histograms: of its activations.
        ranges: chosen so far.
        statistics: what to correct its biases by; None to leave them.
        rounded: layers whose weights are rounded jointly; those of others are rounded to nearest.
    """

    model: onnx.ModelProto
    histograms: dict[str, Histogram]
    ranges: dict[str, Range]
    statistics: dict[str, ChannelStatistics] | None = None
    rounded: dict[str, RoundedLayer] = field(default_factory=dict)

    def prepared(self, levels: int, keep_float: Collection[str]) -> onnx.ModelProto:
        """A copy of the model with weights and biases that suit rounding; nodes left in float keep theirs.

        Args:
            levels: the largest integer of a weight.
            keep_float: names of nodes.
        """
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        put_rounded(copy, self.rounded, keep_float)
        if self.statistics is not None:
            correct_biases(copy, self.statistics, levels, keep_float)
        return copy


@dataclass(frozen=True, slots=True)
class _State:
    """Where the search stands.

    Attributes:
        parts: of the int8 model.
        reached: by it, on held-out images.
        steps: what was kept.
    """

    parts: _Parts
    reached: Fidelity
    steps: tuple[str, ...]


def quantize_automatically(work: Work) -> Quantised:
    """Quantise ``work`` so that it meets the goal at the least latency.

    Ranges by the best of four methods, bias correction, equalisation of channels, weights rounded jointly,
    ranges searched one by one; each is judged on held-out images. What then does not meet the goal gets nodes
    in float, where the latency can be measured.
    """
    search = _Search.of(work)
    state = search.start()
    state = search.try_correction(state)
    state = search.try_rounding(state)
    for migration in _MIGRATIONS:
        state = search.try_equalised(state, migration)
    state, order = search.try_ranges(state)
    if work.settings.target == "openvino":
        return search.for_openvino(state)
    kept, front, model = search.mixed(state, order)
    return Quantised(
        model=model,
        scheme=scheme_text(work),
        steps=(*state.steps, *([f"{len(kept)} nodes in float"] if kept else [])),
        kept_float=tuple(sorted({*work.keep_float, *kept})),
        front=tuple(front),
        convergence=search.calibration.convergence,
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """What all steps share: images in memory, the float model's scores of them, and its activations."""

    work: Work
    calibration: Calibration
    tuning: Images
    tuning_scores: NDArray[np.float32]
    judge: Judge

    @classmethod
    def of(cls, work: Work) -> _Search:
        images, threads = work.required_images(), work.settings.threads
        tuning, held = images.tuning(), images.held_out()
        session = Session(work.model, threads=threads)
        reference = session.scores(held)
        more = np.concatenate([reference, session.scores(images.seen())])
        judge = Judge(
            held,
            images.labels[images.judging],
            reference,
            margins_of(more),
            Goal(work.settings.max_drop),
            threads,
        )
        return cls(work, work.calibrated(work.model), tuning, session.scores(tuning), judge)

    def start(self) -> _State:
        """The best method's ranges on the model as it is."""
        model = self.work.model
        method, parts = self.ranged(model, self.calibration.histograms)
        return self.told(_State(parts, self.reached(parts), (f"ranges by {method}",)))

    def try_correction(self, state: _State) -> _State:
        """``state`` with corrected biases, if that helps."""
        parts = replace(state.parts, statistics=self.statistics(state.parts))
        return self.better(parts, (*state.steps, "bias correction"), state)

    def try_rounding(self, state: _State) -> _State:
        """``state`` with weights rounded so that their errors cancel out, if that helps."""
        parts = replace(state.parts, rounded=self.rounded(state.parts.model))
        return self.better(parts, (*state.steps, "weights rounded jointly"), state)

    def try_equalised(self, state: _State, migration: float) -> _State:
        """The work's model with equalised channels and all that helped so far, if that helps."""
        model = self.equalised(self.work.model, migration)
        if model is None:
            return state
        method, parts = self.ranged(model, self.work.calibrated(model).histograms)
        if state.parts.statistics is not None:
            parts = replace(parts, statistics=self.statistics(parts))
        if state.parts.rounded:
            parts = replace(parts, rounded=self.rounded(model))
        others = tuple(step for step in state.steps[1:] if not step.startswith("channels equalised"))
        steps = (f"ranges by {method}", *others, f"channels equalised by {migration:g}")
        return self.better(parts, steps, state)

    def try_ranges(self, state: _State) -> tuple[_State, list[Sensitivity]]:
        """``state`` with ranges searched one by one, if that helps; and the activations by sensitivity."""
        parts = state.parts
        simulation = self.simulation(self.prepared(parts), parts.histograms)
        few = self.tuning[:_RANKING_IMAGES]
        order = sensitivities(simulation, parts.ranges, few, self.tuning_scores[:_RANKING_IMAGES])
        ranges, changed = refine_ranges(
            simulation, parts.ranges, parts.histograms, order[:_REFINED], self.tuning, self.tuning_scores
        )
        trial = replace(parts, ranges=ranges)
        if parts.statistics is not None:
            trial = replace(trial, statistics=self.statistics(trial))
        return self.better(trial, (*state.steps, f"{changed} ranges searched"), state), order

    def mixed(
        self, state: _State, order: list[Sensitivity]
    ) -> tuple[tuple[str, ...], list[MixedPoint], onnx.ModelProto]:
        """The nodes to leave in float, the points tried, and the model."""

        def build(keep: Collection[str]) -> onnx.ModelProto:
            return self.work.placed(self.prepared(state.parts, keep), state.parts.ranges, keep)

        if self.work.settings.target == "trt":  # its latency cannot be measured here
            return (), [], build(())
        model = state.parts.model
        blocks = block_sites(model, {item.activation: item.noise for item in order})
        sites = [activation_site(model, item.activation) for item in order[:_SITES]]
        sites += blocks[:_SITES]
        points = search_mixed_precision(build, self.judge, excite_branches(model), sites, self.work.observe)
        kept = chosen_point(points).kept_float
        return kept, points, build(kept)

    def for_openvino(self, state: _State) -> Quantised:
        """Ours or NNCF's, whichever OpenVINO runs faster of those that meet the goal."""
        ours = Quantised(
            model=self.work.placed(self.prepared(state.parts), state.parts.ranges),
            scheme=scheme_text(self.work),
            steps=state.steps,
            kept_float=tuple(sorted(self.work.keep_float)),
            convergence=self.calibration.convergence,
        )
        from edgecnn.quantize.with_nncf import nncf_default  # takes seconds to import, and is optional

        made = {"ours": ours, "NNCF's": nncf_default(self.work)}
        models = {name: each.model for name, each in made.items()}
        chosen, tried = choose_for_openvino(models, self.work.spec, self.judge)
        for each in tried:
            self.work.observe(
                f"In OpenVINO, {each.name}: SQNR {each.fidelity.sqnr_db:.1f} dB, agreement "
                f"{each.fidelity.agreement:.1f} %, latency x {each.latency.ratio:.2f}"
                f"{' (chosen)' if each.name == chosen else ''}"
            )
        return made[chosen]

    def simulation(self, model: onnx.ModelProto, histograms: Collection[str]) -> Simulation:
        settings = self.work.settings
        return Simulation(
            model,
            histograms,
            self.work.weight_levels,
            threads=settings.threads,
            symmetric=settings.target == "trt",
        )

    def ranged(self, model: onnx.ModelProto, histograms: dict[str, Histogram]) -> tuple[str, _Parts]:
        """``model`` with the ranges of the best method, and its name."""
        simulation = self.simulation(model, histograms)
        method, ranges = best_method(simulation, histograms, self.tuning, self.tuning_scores)
        return method, _Parts(model, histograms, ranges)

    def reached(self, parts: _Parts) -> Fidelity:
        placed = self.work.placed(self.prepared(parts), parts.ranges)
        scores = Session(placed, threads=self.work.settings.threads).scores(self.judge.images)
        return self.judge.fidelity(scores)

    def rounded(self, model: onnx.ModelProto) -> dict[str, RoundedLayer]:
        threads = self.work.settings.threads
        return round_layers(model, self.tuning, self.work.weight_levels, threads=threads)

    def equalised(self, model: onnx.ModelProto, migration: float) -> onnx.ModelProto | None:
        """A copy with equalised channels; None where none can be scaled."""
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        names = [name for node in model.graph.node for name in node.output]
        found = measure_channels(model, names, self.tuning, threads=self.work.settings.threads)
        scaled = equalise(copy, {name: item.largest for name, item in found.items()}, migration)
        return copy if scaled else None

    def statistics(self, parts: _Parts) -> dict[str, ChannelStatistics]:
        """Of what the weighted layers read, before and after rounding to the ranges."""
        ranges = parts.ranges
        if self.work.settings.target == "trt":
            largest = {name: max(map(abs, span)) for name, span in ranges.items()}
            ranges = {name: (-end, end) for name, end in largest.items()}
        names = [node.input[0] for node in weighted_nodes(GraphIndex(parts.model.graph))]
        threads = self.work.settings.threads
        return measure_channels(parts.model, names, self.tuning, threads=threads, ranges=ranges)

    def prepared(self, parts: _Parts, keep_float: Collection[str] = ()) -> onnx.ModelProto:
        return parts.prepared(self.work.weight_levels, self.work.keep_float | set(keep_float))

    def better(self, parts: _Parts, steps: tuple[str, ...], state: _State) -> _State:
        reached = self.reached(parts)
        helps = (
            reached.noise < _WORTHWHILE * state.reached.noise
            and reached.agreement >= state.reached.agreement - _CHANCE
        )
        if helps:
            return self.told(_State(parts, reached, steps))
        self.work.observe(f"Tried without success: {steps[-1]}")
        return state

    def told(self, state: _State) -> _State:
        self.work.observe(
            f"{state.steps[-1].capitalize()}: SQNR {state.reached.sqnr_db:.1f} dB, agreement "
            f"{state.reached.agreement:.1f} % of {state.reached.images} held-out images"
        )
        return state

"""The recipe that tries what is known to help, in the order of cost, and keeps what does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.index import GraphIndex
from edgecnn.quantize.bias_correction import correct_biases, weighted_nodes
from edgecnn.quantize.calibration import ChannelStatistics, measure_channels
from edgecnn.quantize.equalise import equalise
from edgecnn.quantize.fidelity import Fidelity, fidelity
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

#: How far channels' widths are moved from activations to weights; see ``equalise``.
_MIGRATION = 0.75

#: So many of the most sensitive activations get a range of their own.
_REFINED = 16

#: So many activations, and so many blocks, are candidates for float.
_SITES = 6

#: So many images tell the activations apart by their sensitivity.
_RANKING_IMAGES = 8


@dataclass(frozen=True, slots=True)
class _State:
    """Where the search stands.

    Attributes:
        model: float, with channels as equalised so far.
        statistics: what to correct its biases by; None to leave them.
        histograms: of its activations.
        ranges: chosen so far.
        reached: by the int8 model, on held-out images.
        steps: what was kept.
    """

    model: onnx.ModelProto
    statistics: dict[str, ChannelStatistics] | None
    histograms: dict[str, Histogram]
    ranges: dict[str, Range]
    reached: Fidelity
    steps: tuple[str, ...]


def quantize_automatically(work: Work) -> Quantised:
    """Quantise ``work`` so that it meets the goal at the least latency.

    Ranges by the best of four methods, bias correction, equalisation of channels, ranges searched one by
    one; each is judged on held-out images. What then does not meet the goal gets nodes in float, where the
    latency can be measured.
    """
    search = _Search.of(work)
    state = search.start()
    state = search.try_correction(state)
    state = search.try_equalised(state)
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
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """What all steps share: images in memory, and the float model's scores of them."""

    work: Work
    tuning: Images
    tuning_scores: NDArray[np.float32]
    judge: Judge

    @classmethod
    def of(cls, work: Work) -> _Search:
        images, threads = work.required_images(), work.settings.threads
        tuning, held = images.tuning(), images.held_out()
        session = Session(work.model, threads=threads)
        judge = Judge(
            held,
            images.labels[images.judging],
            session.scores(held),
            Goal(work.settings.max_drop),
            threads,
        )
        return cls(work, tuning, session.scores(tuning), judge)

    def start(self) -> _State:
        """The best method's ranges on the model as it is."""
        model = self.work.model
        histograms = self.work.calibrated(model).histograms
        method, ranges = best_method(
            self.simulation(model, histograms), histograms, self.tuning, self.tuning_scores
        )
        steps = (f"ranges by {method}",)
        return self.told(_State(model, None, histograms, ranges, self.reached(model, None, ranges), steps))

    def try_correction(self, state: _State) -> _State:
        """``state`` with corrected biases, if that helps."""
        statistics = self.statistics(state.model, state.ranges)
        reached = self.reached(state.model, statistics, state.ranges)
        steps = (*state.steps, "bias correction")
        return self.better(replace(state, statistics=statistics, reached=reached, steps=steps), state)

    def try_equalised(self, state: _State) -> _State:
        """``state`` with equalised channels and corrected biases, if that helps."""
        model = self.equalised(state.model)
        if model is None:
            return state
        histograms = self.work.calibrated(model).histograms
        simulation = self.simulation(model, histograms)
        method, ranges = best_method(simulation, histograms, self.tuning, self.tuning_scores)
        statistics = self.statistics(model, ranges)
        reached = self.reached(model, statistics, ranges)
        steps = (f"ranges by {method}", "equalised channels and bias correction")
        return self.better(_State(model, statistics, histograms, ranges, reached, steps), state)

    def try_ranges(self, state: _State) -> tuple[_State, list[Sensitivity]]:
        """``state`` with ranges searched one by one, if that helps; and the activations by sensitivity."""
        simulation = self.simulation(self.corrected(state.model, state.statistics), state.histograms)
        few = self.tuning[:_RANKING_IMAGES]
        order = sensitivities(simulation, state.ranges, few, self.tuning_scores[:_RANKING_IMAGES])
        ranges, changed = refine_ranges(
            simulation, state.ranges, state.histograms, order[:_REFINED], self.tuning, self.tuning_scores
        )
        statistics = None if state.statistics is None else self.statistics(state.model, ranges)
        reached = self.reached(state.model, statistics, ranges)
        steps = (*state.steps, f"{changed} ranges searched")
        trial = replace(state, statistics=statistics, ranges=ranges, reached=reached, steps=steps)
        return self.better(trial, state), order

    def mixed(
        self, state: _State, order: list[Sensitivity]
    ) -> tuple[tuple[str, ...], list[MixedPoint], onnx.ModelProto]:
        """The nodes to leave in float, the points tried, and the model."""

        def build(keep: Collection[str]) -> onnx.ModelProto:
            model = self.corrected(state.model, state.statistics, keep)
            return self.work.placed(model, state.ranges, keep)

        if self.work.settings.target == "trt":  # its latency cannot be measured here
            return (), [], build(())
        blocks = block_sites(state.model, {item.activation: item.noise for item in order})
        sites = [activation_site(state.model, item.activation) for item in order[:_SITES]]
        sites += blocks[:_SITES]
        points = search_mixed_precision(
            build, self.judge, excite_branches(state.model), sites, self.work.observe
        )
        kept = chosen_point(points).kept_float
        return kept, points, build(kept)

    def for_openvino(self, state: _State) -> Quantised:
        """Ours or NNCF's, whichever OpenVINO runs faster of those that meet the goal."""
        ours = Quantised(
            model=self.work.placed(self.corrected(state.model, state.statistics), state.ranges),
            scheme=scheme_text(self.work),
            steps=state.steps,
            kept_float=tuple(sorted(self.work.keep_float)),
        )
        from edgecnn.quantize.with_nncf import nncf_default  # takes seconds to import, and is optional

        made = {"ours": ours, "NNCF's": nncf_default(self.work)}
        models = {name: each.model for name, each in made.items()}
        chosen, tried = choose_for_openvino(models, self.work.spec, self.judge)
        for each in tried:
            self.work.observe(
                f"In OpenVINO, {each.name}: SQNR {each.fidelity.sqnr_db:.1f} dB, agreement "
                f"{each.fidelity.agreement:.1f} %, latency x {each.relative_latency:.2f}"
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

    def reached(
        self,
        model: onnx.ModelProto,
        statistics: dict[str, ChannelStatistics] | None,
        ranges: dict[str, Range],
    ) -> Fidelity:
        placed = self.work.placed(self.corrected(model, statistics), ranges)
        scores = Session(placed, threads=self.work.settings.threads).scores(self.judge.images)
        return fidelity(self.judge.reference, scores)

    def equalised(self, model: onnx.ModelProto) -> onnx.ModelProto | None:
        """A copy with equalised channels; None where none can be scaled."""
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        names = [name for node in model.graph.node for name in node.output]
        found = measure_channels(model, names, self.tuning, threads=self.work.settings.threads)
        scaled = equalise(copy, {name: item.largest for name, item in found.items()}, _MIGRATION)
        return copy if scaled else None

    def statistics(self, model: onnx.ModelProto, ranges: dict[str, Range]) -> dict[str, ChannelStatistics]:
        """Of what the weighted layers of ``model`` read, before and after rounding to ``ranges``."""
        if self.work.settings.target == "trt":
            largest = {name: max(map(abs, span)) for name, span in ranges.items()}
            ranges = {name: (-end, end) for name, end in largest.items()}
        names = [node.input[0] for node in weighted_nodes(GraphIndex(model.graph))]
        threads = self.work.settings.threads
        return measure_channels(model, names, self.tuning, threads=threads, ranges=ranges)

    def corrected(
        self,
        model: onnx.ModelProto,
        statistics: dict[str, ChannelStatistics] | None,
        keep_float: Collection[str] = (),
    ) -> onnx.ModelProto:
        """A copy with biases corrected for weights and activations that will be rounded."""
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        if statistics is not None:
            keep = self.work.keep_float | set(keep_float)
            correct_biases(copy, statistics, self.work.weight_levels, keep)
        return copy

    def better(self, trial: _State, state: _State) -> _State:
        helps = (
            trial.reached.noise < _WORTHWHILE * state.reached.noise
            and trial.reached.agreement >= state.reached.agreement - _CHANCE
        )
        if not helps:
            self.work.observe(f"Tried without success: {trial.steps[-1]}")
        return self.told(trial) if helps else state

    def told(self, state: _State) -> _State:
        self.work.observe(
            f"{state.steps[-1].capitalize()}: SQNR {state.reached.sqnr_db:.1f} dB, agreement "
            f"{state.reached.agreement:.1f} % of {state.reached.images} held-out images"
        )
        return state

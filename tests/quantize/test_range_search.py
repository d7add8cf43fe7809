"""Ranges chosen by the model's scores: never worse than where the search began."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgecnn.quantize.calibration import calibrate
from edgecnn.quantize.fidelity import noise
from edgecnn.quantize.histogram import Histogram
from edgecnn.quantize.range_search import best_method, refine_ranges, sensitivities
from edgecnn.quantize.ranges import METHODS, Method, Range, choose_range
from edgecnn.quantize.sessions import Session, in_batches
from edgecnn.quantize.simulation import Simulation

GraphOf = Callable[..., onnx.ModelProto]
Array = NDArray[np.float32]

RNG = np.random.default_rng(11)
#: Some pixels are far out, so that it matters where ranges end.
IMAGES = (RNG.normal(size=(16, 3, 8, 8)) ** 3).astype(np.float32)
WEIGHTS = {
    "w1": RNG.normal(size=(8, 3, 3, 3)).astype(np.float32),
    "w2": RNG.normal(size=(8, 8, 3, 3)).astype(np.float32),
    "dense": RNG.normal(size=(6, 8)).astype(np.float32),
}
NODES = """a = Conv(x, w1) b = Relu(a) c = Conv(b, w2) d = Relu(c)
    p = GlobalAveragePool(d) f = Flatten(p) y = Gemm<transB=1>(f, dense)"""


@dataclass(frozen=True)
class Case:
    simulation: Simulation
    histograms: dict[str, Histogram]
    reference: Array

    def ranges(self, method: Method) -> dict[str, Range]:
        return {name: choose_range(histogram, method) for name, histogram in self.histograms.items()}

    def noise(self, ranges: dict[str, Range], only: tuple[str, ...] | None = None) -> float:
        return noise(self.reference, self.simulation.scores(IMAGES, ranges, only))


@pytest.fixture(scope="module")
def case(graph_of: GraphOf) -> Case:
    model = graph_of(NODES, WEIGHTS)
    histograms = calibrate(model, in_batches(IMAGES), len(IMAGES), threads=1).histograms
    simulation = Simulation(model, histograms, 127, threads=1)
    return Case(simulation, histograms, Session(model, threads=1).scores(IMAGES))


def test_the_best_method_disturbs_least(case: Case) -> None:
    method, ranges = best_method(case.simulation, case.histograms, IMAGES, case.reference)
    noises = {each: case.noise(case.ranges(each)) for each in METHODS}
    assert ranges == case.ranges(method)
    assert noises[method] == min(noises.values())
    assert len(set(noises.values())) > 1, "the methods differ here"


def test_sensitivities_are_of_each_activation_alone_the_largest_first(case: Case) -> None:
    ranges = case.ranges("minmax")
    found = sensitivities(case.simulation, ranges, IMAGES, case.reference)
    assert {item.activation for item in found} == set(case.simulation.activations) == {"x", "b", "d", "p"}
    weights_alone = case.noise(ranges, ())
    alone = {name: case.noise(ranges, (name,)) - weights_alone for name in case.simulation.activations}
    assert [item.activation for item in found] == sorted(alone, key=lambda name: -alone[name])


def test_an_activation_with_a_ruined_range_is_the_most_sensitive(case: Case) -> None:
    ranges = case.ranges("minmax") | {"b": (0.0, 0.1)}
    assert sensitivities(case.simulation, ranges, IMAGES, case.reference)[0].activation == "b"


@pytest.mark.parametrize("method", METHODS)
def test_refined_ranges_never_disturb_more(case: Case, method: Method) -> None:
    start = case.ranges(method)
    before = dict(start)
    order = sensitivities(case.simulation, start, IMAGES, case.reference)
    ranges, changed = refine_ranges(case.simulation, start, case.histograms, order, IMAGES, case.reference)
    assert start == before, "what was given is not changed"
    assert case.noise(ranges) <= case.noise(start)
    assert changed == sum(ranges[name] != start[name] for name in start)
    if changed:
        assert case.noise(ranges) < case.noise(start)
    for name, (low, high) in ranges.items():
        histogram = case.histograms[name]
        assert min(histogram.low, 0) <= low <= 0 <= high <= max(histogram.high, 0)


def test_a_ruined_range_is_mended(case: Case) -> None:
    good = case.ranges("mse")
    ruined = good | {"d": (0.0, good["d"][1] / 50)}
    order = sensitivities(case.simulation, ruined, IMAGES, case.reference)
    ranges, changed = refine_ranges(case.simulation, ruined, case.histograms, order, IMAGES, case.reference)
    assert changed >= 1
    assert ranges["d"][1] > good["d"][1] / 2
    assert case.noise(ranges) < case.noise(ruined) / 10


def test_only_the_activations_of_the_order_are_tried(case: Case) -> None:
    start = case.ranges("minmax")
    assert refine_ranges(case.simulation, start, case.histograms, [], IMAGES, case.reference) == (start, 0)

"""The search for what to leave in float: its order, where it stops, and what it chooses.

The networks are made up: a model is no more than the names of its float nodes, and its noise, its latency and
its agreement are told by a table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest

from edgecnn.quantize import mixed_precision
from edgecnn.quantize.fidelity import Fidelity, margins_of
from edgecnn.quantize.goal import Drop, Goal
from edgecnn.quantize.mixed_precision import (
    Judge,
    MixedPoint,
    RelativeLatency,
    chosen_point,
    search_mixed_precision,
    why_chosen,
)
from edgecnn.quantize.placement import Scheme, place_qdq
from edgecnn.quantize.sessions import Images, Session
from edgecnn.quantize.sites import Site

SmallOf = Callable[[str], Any]

IMAGES = 128


def site(*nodes: str) -> Site:
    return Site(nodes[0], frozenset(nodes))


NO_BRANCHES = Site("squeeze-excite", frozenset())
BRANCHES = Site("squeeze-excite", frozenset({"se1", "se2"}))


def point(
    agreement: float,
    latency: float,
    *,
    met: bool,
    label: str = "",
    noise: float = 0.1,
    ci95: tuple[float, float] | None = None,
) -> MixedPoint:
    fidelity = Fidelity(noise=noise, agreement=agreement, images=IMAGES)
    drop = Drop(n=IMAGES, gained=0, lost=0)
    return MixedPoint(label, (label,), fidelity, drop, latency, ci95 or (latency, latency), met)


@dataclass
class World:
    """What every node in float would bring and cost.

    Attributes:
        noise: of all in int8.
        gains: noise that a node in float takes away.
        costs: share of the latency that it adds; negative where it is faster in float.
        enough: the noise at which the goal is met.
        unsure: nodes whose latency is measured as a quarter of what it is, or as anything up to ten times.
        timed: what was timed, and the ratio that it was to be told from.
    """

    noise: float = 1.0
    gains: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    enough: float = 0.5
    unsure: frozenset[str] = frozenset()
    built: list[frozenset[str]] = field(default_factory=list)
    timed: list[tuple[tuple[str, ...], float | None]] = field(default_factory=list)

    def build(self, kept: Collection[str]) -> onnx.ModelProto:
        self.built.append(frozenset(kept))
        model = onnx.ModelProto()
        for name in sorted(kept):
            model.graph.node.add(name=name)
        return model

    def noise_of(self, model: onnx.ModelProto) -> float:
        return self.noise - sum(self.gains.get(node.name, 0.0) for node in model.graph.node)

    def latency(self, model: onnx.ModelProto) -> float:
        return 1 + sum(self.costs.get(node.name, 0.0) for node in model.graph.node)

    def latency_over(
        self, model: onnx.ModelProto, base: onnx.ModelProto, tell_from: float | None = None
    ) -> RelativeLatency:
        nodes = tuple(node.name for node in (*model.graph.node, *base.graph.node))
        self.timed.append((nodes, tell_from))
        ratio = self.latency(model) / self.latency(base)
        if self.unsure & set(nodes):
            return RelativeLatency(ratio / 4, (ratio / 8, ratio * 10))
        return RelativeLatency(ratio, (ratio, ratio))


def search(
    world: World, monkeypatch: pytest.MonkeyPatch, sites: Sequence[Site], branches: Site = NO_BRANCHES
) -> tuple[list[MixedPoint], list[str]]:
    """The points found and the lines told, by a judge that asks ``world``."""

    class Told:
        def __init__(self, model: onnx.ModelProto, **_: object) -> None:
            self.model = model

        def scores(self, _: object) -> float:
            return world.noise_of(self.model)

    def fidelity(_: object, noise: float, __: object) -> Fidelity:
        return Fidelity(noise=noise, agreement=100.0 if noise <= world.enough else 50.0, images=IMAGES)

    def drop_between(_: object, noise: float, __: object) -> Drop:
        good = noise <= world.enough
        return Drop(n=IMAGES, gained=0, lost=0 if good else 64)

    monkeypatch.setattr(mixed_precision, "Session", Told)
    monkeypatch.setattr(mixed_precision, "fidelity", fidelity)
    monkeypatch.setattr(mixed_precision, "drop_between", drop_between)
    monkeypatch.setattr(Judge, "latency_over", lambda _, *args: world.latency_over(*args))
    nothing = np.zeros((1, 1), np.float32)
    judge = Judge(nothing, np.zeros(1, np.int64), nothing, np.zeros(1), Goal(0.5), 1)
    told: list[str] = []
    return search_mixed_precision(world.build, judge, branches, sites, told.append), told


def test_what_meets_the_goal_takes_only_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(noise=0.4, gains={"dear": 0.3, "free": 0.1}, costs={"dear": 0.1, "free": 0.001})
    points, _ = search(world, monkeypatch, [site("dear"), site("free")])
    assert [(point.label, point.kept_float, point.met) for point in points] == [
        ("all in int8", (), True),
        ("+ free", ("free",), True),
    ]
    assert points[0].relative_latency == 1.0


def test_noise_makes_nothing_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A latency that is a quarter, or ten times: it is not known to cost nothing, and not taken."""
    world = World(noise=0.4, gains={"unsure": 0.3}, unsure=frozenset({"unsure"}))
    points, told = search(world, monkeypatch, [site("unsure")])
    assert [point.label for point in points] == ["all in int8"]
    assert told == []


def test_what_decides_is_measured_until_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the goal is met, whether it is free; before, nothing hangs on it. And nothing is timed in vain."""
    world = World(gains={"best": 0.6, "later": 0.1, "vain": -0.1}, costs={"later": 0.001, "se1": -0.5})
    search(world, monkeypatch, [site(name) for name in ("best", "later", "vain")], BRANCHES)
    se = ("se1", "se2")
    limits = {nodes: limit for nodes, limit in world.timed if limit is not None}
    assert limits == {se: 1.02, ("best", "later", *se, *se): pytest.approx(1.02)}
    assert not any("vain" in nodes for nodes, _ in world.timed)


def test_without_candidates_it_is_all_in_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(noise=0.9)
    points, told = search(world, monkeypatch, [])
    assert [(point.label, point.kept_float, point.met) for point in points] == [("all in int8", (), False)]
    assert world.built == [frozenset()]
    assert told == []


def test_sites_are_added_by_noise_per_latency_until_the_goal_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(
        gains={"dear": 0.3, "cheap": 0.2, "best": 0.35, "small": 0.1},
        costs={"dear": 0.6, "cheap": 0.1, "best": 0.1, "small": 0.9},
    )
    points, told = search(world, monkeypatch, [site(name) for name in ("dear", "cheap", "best", "small")])
    assert [point.label for point in points] == ["all in int8", "+ best", "+ cheap"]
    assert [point.kept_float for point in points] == [(), ("best",), ("best", "cheap")]
    assert [point.met for point in points] == [False, False, True]
    assert [point.relative_latency for point in points] == pytest.approx([1.0, 1.1, 1.2])
    assert [line.split(":")[0] for line in told] == ["Float for best", "Float for cheap"]
    assert chosen_point(points).kept_float == ("best", "cheap")


def test_a_site_without_any_cost_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(gains={"much": 0.2, "free": 0.1}, costs={"much": 0.1, "free": -0.05})
    points, _ = search(world, monkeypatch, [site("much"), site("free")])
    assert [point.label for point in points][1:] == ["+ free", "+ much"]


def test_sites_that_bring_nothing_are_left_in_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(gains={"worse": -0.1, "little": 0.02, "good": 0.2}, costs={"good": 0.5})
    points, _ = search(world, monkeypatch, [site("worse"), site("little"), site("good")])
    assert [point.kept_float for point in points] == [(), ("good",)]
    assert frozenset({"worse", "good"}) not in world.built


def test_a_site_that_another_one_holds_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone each is worth it; together the second adds nothing."""
    world = World(gains={"n": 0.3}, costs={"n": 0.1, "m": 0.01})
    points, _ = search(world, monkeypatch, [site("n", "m"), site("n")])
    assert len(points) == 2
    assert points[1].label == "+ n"


def test_what_is_in_float_already_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(gains={"n": 1.0}, costs={"n": 0.1, "m": 0.01})
    points, _ = search(world, monkeypatch, [site("n", "m"), site("m", "n")])
    assert [point.kept_float for point in points] == [(), ("m", "n")]


def test_everything_is_tried_where_the_goal_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(gains={"a": 0.1, "b": 0.1}, costs={"a": 0.1, "b": 0.2})
    points, _ = search(world, monkeypatch, [site("a"), site("b")])
    assert [point.kept_float for point in points] == [(), ("a",), ("a", "b")]
    assert not any(point.met for point in points)


@pytest.mark.parametrize(("cost", "taken"), [(-0.3, True), (-0.01, False), (0.0, False), (0.2, False)])
def test_branches_go_to_float_only_where_that_is_faster(
    cost: float, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(noise=0.4, costs={"se1": cost})
    (found,), told = search(world, monkeypatch, [], BRANCHES)
    assert (found.kept_float == ("se1", "se2")) is taken
    assert found.label == ("squeeze-excite in float" if taken else "all in int8")
    assert found.relative_latency == 1.0
    assert len(told) == taken


def test_sites_come_on_top_of_the_branches_and_are_timed_against_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(gains={"a": 0.6}, costs={"se1": -0.5, "a": 0.1})
    points, _ = search(world, monkeypatch, [site("a")], BRANCHES)
    assert [point.kept_float for point in points] == [("se1", "se2"), ("a", "se1", "se2")]
    assert points[1].relative_latency == pytest.approx(0.6 / 0.5)


def test_the_fastest_that_meets_the_goal_is_chosen() -> None:
    points = [
        point(99.9, 1.0, met=False, label="all"),
        point(98.0, 1.3, met=True, label="slower"),
        point(97.5, 1.1, met=True, label="faster"),
    ]
    assert chosen_point(points).label == "faster"


def test_where_none_meets_it_the_fastest_of_those_that_agree_most() -> None:
    points = [
        point(90.0, 1.0, met=False, label="all"),
        point(95.2, 1.2, met=False, label="within one percent"),
        point(96.0, 1.5, met=False, label="most"),
    ]
    assert chosen_point(points).label == "within one percent"
    assert chosen_point(points[:1]).label == "all"


@pytest.mark.parametrize(
    ("met", "words"),
    [
        (
            True,
            "It is the fastest of those within --max-drop, as far as the images tell, with 97 % agreement;",
        ),
        (False, "None is within --max-drop"),
    ],
)
def test_the_rule_of_the_choice_is_told(met: bool, words: str) -> None:
    told = why_chosen(point(98.0, 1.0, met=met))
    assert told.startswith(words)
    assert ("agree most" in told) is not met
    assert told.endswith("within 2 % of the fastest, the nearest to the float model.")


def test_of_equally_fast_ones_the_one_with_the_least_noise() -> None:
    points = [
        point(98.0, 1.0, met=True, label="all", noise=0.02),
        point(98.0, 1.009, met=True, label="nearer", noise=0.01),
        point(98.0, 1.2, met=True, label="nearest", noise=0.001),
    ]
    assert chosen_point(points).label == "nearer"


def test_noise_makes_no_point_the_fastest() -> None:
    points = [
        point(98.0, 1.0, met=True, label="all", noise=0.02),
        point(98.0, 0.24, met=True, label="unsure", noise=0.01, ci95=(0.21, 3.0)),
        point(98.0, 1.0, met=True, label="nearer", noise=0.015, ci95=(0.99, 1.01)),
    ]
    assert chosen_point(points).label == "nearer"


def test_a_point_is_measured_on_the_held_out_images(small: SmallOf) -> None:
    made = small("residual")
    labels = made.reference.argmax(axis=1)
    judge = Judge(made.images, labels, made.reference, margins_of(made.reference), Goal(100.0), 1)
    same = judge.point("float", ("d", "a"), made.model)
    assert (same.label, same.kept_float, same.relative_latency) == ("float", ("a", "d"), 1.0)
    slower = same.with_latency(RelativeLatency(1.5, (1.4, 1.7)))
    assert (slower.relative_latency, slower.latency_ci95, slower.fidelity) == (1.5, (1.4, 1.7), same.fidelity)
    assert (same.drop.n, same.drop.points, same.fidelity.agreement) == (len(made.images), 0.0, 100.0)
    assert same.met
    coarse = {name: (low / 20, high / 20) for name, (low, high) in made.ranges.items()}
    placed = place_qdq(made.model, coarse, Scheme(signed_activations=False, reduce_range=False), ())
    worse = judge.point("clipped", (), placed)
    assert worse.fidelity.noise > same.fidelity.noise
    assert worse.fidelity.sqnr_db < 20 < same.fidelity.sqnr_db


def test_latency_is_that_of_one_image_on_one_thread(small: SmallOf, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small("residual")
    threads: list[int] = []
    sizes: list[int] = []

    class Spy(Session):
        def __init__(self, model: onnx.ModelProto, **options: Any) -> None:
            super().__init__(model, **options)
            threads.append(options["threads"])

        def run(self, images: Images, *args: Any) -> Any:
            sizes.append(len(images))
            return super().run(images, *args)

    monkeypatch.setattr(mixed_precision, "Session", Spy)
    monkeypatch.setattr(mixed_precision, "_SECONDS", 0.0)
    labels = made.reference.argmax(axis=1)
    judge = Judge(made.images, labels, made.reference, margins_of(made.reference), Goal(100.0), 4)
    found = judge.latency_over(made.model, made.model)
    assert found.ci95[0] <= found.ratio <= found.at_most == found.ci95[1]
    assert threads == [1, 1]
    assert set(sizes) == {1}

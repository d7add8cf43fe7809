"""What a server run did not keep, told from its figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecnn.artifact import Artifact
from edgecnn.bench.load import Series
from edgecnn.bench.outcome import latency_gates, server_warnings
from edgecnn.bench.plan import BenchPlan
from edgecnn.engines.choice import parse_choice
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

_SPEC = ModelSpec(
    network="tiny",
    classes=("a", "b"),
    input=TensorSpec(name="x", dtype="float32", shape=("n", 3, 1, 1)),
    output=TensorSpec(name="y", dtype="float32", shape=("n", 2)),
    preprocess=Preprocess(resize=None, crop=(1, 1)),
    weights=WeightsId(kind="unknown", name="tiny.onnx"),
)


def _plan(**more: float) -> BenchPlan:
    models = (Artifact(Path("tiny.onnx"), _SPEC),)
    load = {"target_qps": 300.0, **more}
    return BenchPlan(models=models, engines=(parse_choice("ort"),), scenario="server", **load)  # type: ignore[arg-type]


def _series(late_share: float = 0.0, unanswered: int = 0) -> Series:
    return Series(
        latencies_ns=np.full(100, 5_000_000, np.int64),
        costs=np.full(8, 5e6),
        images_per_s=209.4,
        images_ci95=None,
        seconds=2.0,
        unanswered=unanswered,
        late_share=late_share,
    )


def test_a_queue_that_grew_is_told_with_what_was_answered() -> None:
    (warning,) = server_warnings(_plan(), _series(late_share=0.4))
    assert warning.startswith("It cannot keep up with 300 queries/s: it answered 209 a second")


@pytest.mark.parametrize("late_share", [0.0, 0.05])
def test_a_last_answer_that_is_a_little_late_is_no_queue(late_share: float) -> None:
    assert server_warnings(_plan(), _series(late_share)) == []


def test_what_was_given_up_is_told_once() -> None:
    (warning,) = server_warnings(_plan(), _series(late_share=0.9, unanswered=3))
    assert "3 of 100 were given up" in warning


@pytest.mark.parametrize(("bound_ms", "held"), [(5.0, True), (4.9, False)])
def test_the_gate_holds_up_to_the_bound(bound_ms: float, held: bool) -> None:
    (gate,) = latency_gates(_plan(latency_bound_ms=bound_ms), 5.0)
    assert (gate.limit, gate.value, gate.held) == (bound_ms, 5.0, held)


def test_a_bound_that_nothing_was_measured_of_has_no_gate() -> None:
    assert latency_gates(_plan(latency_bound_ms=5.0), None) == ()

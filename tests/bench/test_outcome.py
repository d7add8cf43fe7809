"""What is told of a run, from its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import Artifact
from edgecnn.bench.outcome import loadgen_scenario, one_by_one_warning
from edgecnn.bench.plan import BenchPlan
from edgecnn.engines.choice import parse_choice
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId
from edgecnn.timing.loadgen_figures import LoadgenFigures

_SPEC = ModelSpec(
    network="tiny",
    classes=("a", "b"),
    input=TensorSpec(name="x", dtype="float32", shape=("n", 3, 1, 1)),
    output=TensorSpec(name="y", dtype="float32", shape=("n", 2)),
    preprocess=Preprocess(resize=None, crop=(1, 1)),
    weights=WeightsId(kind="unknown", name="tiny.onnx"),
)


def _plan(**more: Any) -> BenchPlan:
    models = (Artifact(Path("tiny.onnx"), _SPEC),)
    load: dict[str, Any] = {"target_qps": 300.0, **more}
    return BenchPlan(models=models, engines=(parse_choice("ort"),), scenario="server", **load)


_COMPLIANT = LoadgenFigures(
    percentiles_ms={0.99: 4.0}, queries=10_000, samples_per_s=300.0, accepted=True, compliant=True, reason=""
)


@pytest.mark.parametrize(
    ("bound", "kept", "valid"),
    [({"latency_bound_ms": 5.0}, True, True), ({"latency_bound_ms": 5.0}, False, False), ({}, True, False)],
)
def test_a_server_run_by_loadgen_is_valid_only_under_a_bound_of_its_user(
    bound: dict[str, float], kept: bool, valid: bool
) -> None:
    assert loadgen_scenario(_plan(**bound), _COMPLIANT, 600.0, "logs", kept=kept).valid is valid


def test_one_variant_needs_no_ratio() -> None:
    assert one_by_one_warning(_plan(), 1) == []


def test_several_variants_of_the_server_scenario_have_no_ratio() -> None:
    (warning,) = one_by_one_warning(_plan(), 2)
    assert "no ratio" in warning
